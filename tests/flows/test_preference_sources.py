"""A language model in the plan, shares of several sources in the config, and the export command."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from data_store.errors import InputError
from data_store.reading.preference_readers import read_preferences
from data_store.rows import AXES
from data_store.store import Store
from flows.cli import app
from flows.orders import check_overrides
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import build_plan
from flows.session import remember, store_root
from tasks.incoming.asked import Asked
from tests.data_store.reading.test_preference_export import ROWS
from tests.data_store.store_bench import Bench
from tests.flows.recipe_runs import POCKET

FOLDER = {"folder": "/models/judge"}
ENDPOINT = {"endpoint": {"url": "http://localhost:1/v1", "model": "big"}}
HALF = {"simulated": 0.5, "lm": 0.5}


def content_of(collect: dict[str, Any], **changes: Any) -> dict[str, Any]:
    content = yaml.safe_load(POCKET)
    return {**content, "collect": {**content["collect"], **collect}, **changes}


def config_of(collect: dict[str, Any], **changes: Any) -> RunConfig:
    return RunConfig.model_validate(content_of(collect, **changes))


def reads(config: RunConfig, step: str) -> dict[str, list[str]]:
    call = build_plan(config)["V2", step]
    return {role: [str(asset) for asset in assets] for role, assets in call.assets.items()}


def test_a_judge_reads_the_pairs_and_its_folder_and_feeds_the_collecting() -> None:
    config = config_of({"judge": FOLDER}, annotator=None)
    call = build_plan(config)["V2", "judge_pairs"]
    assert reads(config, "judge_pairs") == {"pairs": ["dataset/pairs@V2"]}
    assert call.files == {"judge": (Path("/models/judge"),)}
    assert "/models" not in json.dumps(call.recipe()), "where it lies decides nothing: its bytes do"
    prompts = {"prompts": ["dataset/prompts@base"]}
    assert reads(config, "collect_preferences") == {**prompts, "lm": ["dataset/lm-judgements@V2"]}
    both = config_of({"judge": FOLDER, "sources": HALF})
    wanted = {**prompts, "pairs": ["dataset/pairs@V2"], "lm": ["dataset/lm-judgements@V2"]}
    assert reads(both, "collect_preferences") == wanted


def test_a_judge_changes_no_step_before_it_and_collecting_alone_after_it() -> None:
    before, after = build_plan(config_of({})), build_plan(config_of({"judge": FOLDER, "sources": HALF}))
    changed = {step for (part, step), call in before.items() if call.recipe() != after[part, step].recipe()}
    assert changed == {"collect_preferences"}
    assert {step for _, step in set(after) - set(before)} == {"check_base", "judge_pairs"}


def test_an_endpoint_is_asked_about_its_share_and_no_secret_or_patience_is_in_the_fingerprint() -> None:
    config = config_of({"judge": ENDPOINT, "sources": HALF})
    call = build_plan(config)["V1", "judge_pairs"]
    assert call.of(Asked)[0].shares.lm == 0.5
    patient = config_of(
        {"judge": {"endpoint": {**ENDPOINT["endpoint"], "retries": 1, "key_variable": "K"}}, "sources": HALF}
    )
    assert build_plan(patient)["V1", "judge_pairs"].recipe() == call.recipe()
    other = config_of({"judge": {"endpoint": {**ENDPOINT["endpoint"], "model": "bigger"}}, "sources": HALF})
    assert build_plan(other)["V1", "judge_pairs"].recipe() != call.recipe()


def test_what_becomes_of_disagreement_is_set_by_hand_for_one_iteration() -> None:
    config = config_of({"judge": ENDPOINT})
    check_overrides(config, "V1", "judge_pairs", {"collect.judge.disagreement": "negligibly_better"})
    with pytest.raises(InputError, match="step draw_pairs of V1 does not read it"):
        check_overrides(config, "V1", "draw_pairs", {"collect.judge.disagreement": "negligibly_better"})


@pytest.mark.parametrize(
    ("collect", "changes", "message"),
    [
        ({"sources": HALF}, {}, "collect.sources.lm and collect.judge go together"),
        ({"judge": FOLDER, "sources": {"simulated": 1}}, {}, "collect.sources.lm and collect.judge go together"),
        ({"judge": FOLDER, "sources": HALF}, {"annotator": None}, "collect.sources.simulated needs the annotator"),
        ({"judge": FOLDER, "sources": {"lm": 0.9}}, {}, "collect.sources: the shares must add up to 1, not to 0.9"),
        ({"judge": FOLDER, "people": {}}, {"annotator": None}, "where people judge, nobody else does"),
        ({"judge": FOLDER}, {"distill": {"run": "x"}, "gatt": None, "final_stage": "none"}, "distill draws no pairs"),
        ({"judge": FOLDER}, {}, "collect.judge.folder: there is no folder /models/judge"),
    ],
)
def test_sources_that_do_not_fit_together_are_named(
    tmp_path: Path, collect: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content_of(collect, **changes)))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with preferences of V1 and V2."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    config = config_of({})
    remember(config)
    bench = Bench(Store.open(store_root(config.name)), tmp_path / "work")
    for part in ("V1", "V2"):
        rows = bench.rows("preference", [row for row in ROWS if row["iteration"] == part])
        version = bench.store.publish("dataset", rows, row_kind="preference")
        bench.run("collect_preferences", {f"dataset/preferences@{part}": version})
    return tmp_path


def exported(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["preferences", "export", *map(str, arguments)])


@pytest.mark.slow
def test_the_command_writes_all_iterations_or_one_and_both_axes_or_one(run: Path) -> None:
    target = run / "out.json"
    done = exported("--format", "argilla", target, "--json")
    assert json.loads(done.stdout) == {"target": str(target), "format": "argilla", "rows": 8, "left_out": {}}
    read = [read_preferences([target], axis=axis).rows.to_pylist() for axis in AXES]
    assert {(row["iteration"], row["axis"]) for rows in read for row in rows} == {("V1", AXES[0]), ("V2", AXES[1])}
    assert sum(map(len, read)) == 8
    assert exported("--format", "argilla", target).exit_code == 2, "it is there already"
    done = exported("--format", "argilla", "--iteration", "V2", "--axis", "safety", "--overwrite", target)
    assert f"4 judgements in {target}" in done.stdout
    rows = read_preferences([target], axis="safety").rows.to_pylist()
    assert {(row["iteration"], row["axis"]) for row in rows} == {("V2", "safety")}


@pytest.mark.parametrize(
    "arguments",
    [("--iteration", "V3"), ("--axis", "wit"), ("--format", "trl"), ("--iteration", "V1", "--axis", "safety")],
)
def test_the_command_refuses_what_is_not_there(run: Path, arguments: tuple[str, ...]) -> None:
    given = arguments if "--format" in arguments else ("--format", "hh", *arguments)
    assert exported(*given, run / "out.jsonl").exit_code == 2
    assert not (run / "out.jsonl").exists()
