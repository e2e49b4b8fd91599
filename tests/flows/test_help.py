"""How the commands introduce themselves, and what they suggest for a name that is not there."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.store import Store
from flows.cli import app
from flows.commands.help_panels import PANELS
from flows.orders import find_step
from flows.recipe.changes import changed_keys
from flows.recipe.config import load_config
from flows.recipe.plan import build_plan
from flows.session import remember, store_root
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import ROOT

SMOKE = ROOT / "configs" / "smoke.yaml"


@pytest.fixture
def halter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a home with a run `smoke` that has one policy."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path))
    remember(load_config(SMOKE))
    Bench(Store.open(store_root("smoke")), tmp_path / "work").run("train", {"model/policy@V1": "weights"})
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_every_command_has_its_group_and_what_is_needed_first_comes_first() -> None:
    placed = [name for names in PANELS.values() for name in names]
    there = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert there - set(placed) == set()
    text = CliRunner().invoke(app, ["--help"]).output
    shown = [name for name in re.findall(r"^│ ([a-z-]+) ", text, flags=re.MULTILINE) if name in there]
    assert shown == [name for name in placed if name in there]
    assert [title for title in PANELS if f"─ {title} ─" in text] == list(PANELS)


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("savety-reward", ["safety-reward", "sft"], "; did you mean 'safety-reward'?"),
        ("PPO", ["ppo", "dpo"], "; did you mean 'ppo'?"),
        ("fine-tune", ["fine_tune"], "; did you mean 'fine_tune'?"),
        ("reward", ["train-safety-reward", "sft"], "; did you mean 'train-safety-reward'?"),
        ("zzz", ["sft"], ""),
        ("", ["sft"], ""),
        ("a", [], ""),
    ],
)
def test_the_nearest_name_is_suggested_and_none_that_is_far(given: str, known: list[str], expected: str) -> None:
    assert did_you_mean(given, known) == expected


@pytest.mark.parametrize(
    ("part", "step", "meant"),
    [
        ("V1", "savety-reward", "'safety-reward'"),
        ("V1", "evalaute", "'evaluate'"),
        ("V2", "fine-tun", None),  # it is understood
        ("v1", "evaluate", "'V1'"),
        ("bas", "pretrain", "'base'"),
    ],
)
def test_a_mistyped_step_or_iteration_is_answered_with_the_right_one(part: str, step: str, meant: str | None) -> None:
    plan = build_plan(load_config(SMOKE))
    if meant is None:
        assert find_step(plan, part, step) == "fine_tune"
        return
    with pytest.raises(InputError, match=f"did you mean {meant}"):
        find_step(plan, part, step)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("lineage", "model/polcy@V1"), "'model/policy@V1'"),
        (("status", "--run", "smok"), "'smoke'"),
        (("rerun", "V1", "savety-reward"), "'safety-reward'"),
        (("rerun", "V1", "safety-reward", "--set", "rewrd.margins=large"), "'reward'"),
        (("rerun", "V1", "safety-reward", "--set", "reward.margin=large"), "reward.margins"),
        (("query", "SELECT * FROM run_s"), "runs"),
        (("stauts",), "'status'"),
    ],
)
def test_every_command_suggests_what_was_meant(
    halter: Callable[..., Result], words: tuple[str, ...], meant: str
) -> None:
    result = halter(*words)
    assert result.exit_code == 2
    assert re.search(rf"[Dd]id you mean \"?{re.escape(meant)}", " ".join(result.output.split())), result.output


def test_a_mistyped_config_is_answered_with_the_one_beside_it(halter: Callable[..., Result], tmp_path: Path) -> None:
    shutil.copy(SMOKE, tmp_path / "smoke.yaml")
    result = halter("run", tmp_path / "smok.yaml")
    assert result.exit_code == 2
    assert f"did you mean '{tmp_path / 'smoke.yaml'}'?" in result.stderr.replace("\n", "")


def test_status_names_the_figure_of_each_step(halter: Callable[..., Result], tmp_path: Path) -> None:
    from data_store.records import Metric, RunOutput, RunRecord
    from flows.recipe.plan import plan_today
    from flows.session import recall

    config = recall()
    bench = Bench(Store.open(store_root("smoke")), tmp_path / "more")
    call = plan_today(config, bench.store)["V1", "fine_tune"]
    outputs = {role: RunOutput(asset, bench.publish(str(asset))) for role, asset in call.outputs.items()}
    record = RunRecord("fine_tune", "V1", "f", "1", call.recipe(), 1)
    bench.store.commit_run(record, [], outputs, [Metric("loss", 0.25)])
    (row,) = [line for line in halter("status").stdout.splitlines() if "fine_tune" in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")][1:3] == ["fine_tune", "loss"]
    assert "0.25" in row


def test_the_keys_that_changed_are_named_with_both_values() -> None:
    then = {"config": {"margins": None, "lr": 0.1, "inner": {"a": 1}}, "seed": 1, "old": [1]}
    now = {"config": {"margins": "large", "lr": 0.1, "inner": {"a": 2, "b": 3}}, "seed": 1}
    assert changed_keys(then, now) == [
        ("config.inner.a", 1, 2),
        ("config.inner.b", None, 3),
        ("config.margins", None, "large"),
        ("old", [1], None),
    ]
    assert changed_keys(then, then) == []
