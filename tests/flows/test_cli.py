"""What the command says of wrong input: exit code 2, the file and the key, and nothing has been trained."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from data_store.errors import InputError
from data_store.records import new_run_id, now
from data_store.store import Store
from flows.cli import app
from flows.recipe.config import load_config
from flows.recipe.plan import Plan, build_plan
from tasks.engine.execute import execute
from tasks.engine.processes import Workers
from tests.flows.recipe_runs import POCKET, ROOT, Finished, Home

Halter = Callable[..., Result]
TEXT = "the old llama on the green hill eats grass and looks at people who walk by every morning"


@pytest.fixture
def halter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halter:
    """The command in this process, for what ends before a server is started."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))

    def call(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def on_first_run(halter: Halter, first_run: tuple[Home, Finished], tmp_path: Path) -> Halter:
    """The same, in a copy of the finished pocket run."""
    shutil.copytree(first_run[0].folder, tmp_path / "home")
    return halter


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    started = Workers()
    started.start()
    yield started
    started.close()


def document(number: int) -> dict[str, str]:
    """A document like no other, in words enough for a tokenizer."""
    words = TEXT.split()
    order = [words[(number * 7 + place * (1 + number % 5)) % len(words)] for place in range(30)]
    return {"text": f"{' '.join(order)}, says number {number} of {number * number}."}


def pair(number: int, **changes: str) -> dict[str, str]:
    return {
        "prompt": f"what eats the llama, asks {number}",
        "response_a": "it eats green grass",
        "response_b": "people",
        "chosen": "a",
        "rating": "better",
        **changes,
    }


def files_config(folder: Path, **changes: list[Any]) -> Path:
    """A run on files, all of them sound but for `changes`: role → records (dictionaries, or lines as they stand)."""
    sets: dict[str, list[Any]] = {
        "documents": [document(number) for number in range(150)],
        "demonstrations": [{"prompt": f"what is {number}", "response": "it is a llama"} for number in range(5)],
        "helpfulness_preferences": [pair(number) for number in range(60)],
        "safety_preferences": [pair(number + 100) for number in range(60)],
        **changes,
    }
    for role, rows in sets.items():
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{role}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    content = yaml.safe_load(POCKET)
    content["data"] = {"preference_format": "rows", **{role: [f"{role}.jsonl"] for role in sets}}
    content["tokenizer"] = {"vocab_size": 300, "character_coverage": 1.0}
    path = folder / "files.yaml"
    path.write_text(yaml.safe_dump({**content, "name": "files", "annotator": None, "gatt": None}))
    return path


def prepare(store: Store, workers: Workers, plan: Plan) -> None:
    """All steps that come before the first model."""
    for (_, step), call in plan.items():
        if step == "pretrain":
            return
        execute(store, workers, call)


LONG = "why " * 600


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "step", "message"),
    [
        ({"documents": [document(1), '{"text": "brok']}, "import_data", r"documents\.jsonl.*2"),
        ({"documents": []}, "import_data", r"documents\.jsonl"),
        ({"documents": [{"text": "a"}] * 40}, "filter_corpus", r"kept none of 40 documents \(too_short 40\)"),
        (
            {"safety_preferences": [pair(0), pair(1, rating="fine")]},
            "import_data",
            r"safety_preferences\.jsonl.*2.*fine",
        ),
        (
            {"helpfulness_preferences": [*(pair(n) for n in range(40)), pair(3, prompt=LONG)]},
            "fit_context",
            r"helpfulness_preferences\.jsonl:41: .* tokens; \d+ fit.*fit\.too_long: drop",
        ),
        (
            {"demonstrations": [{"prompt": "say", "response": LONG}]},
            "fit_context",
            r"demonstrations\.jsonl:1: demonstration of \d+ tokens; \d+ fit",
        ),
    ],
    ids=["broken-line", "empty-corpus", "nothing-passes-the-filter", "unknown-rating", "long-prompt", "long-answer"],
)
def test_wrong_data_is_refused_before_any_model_is_trained(
    tmp_path: Path, workers: Workers, changes: dict[str, list[Any]], step: str, message: str
) -> None:
    plan = build_plan(load_config(files_config(tmp_path, **changes)))
    store = Store.open(tmp_path / "store")
    with pytest.raises(InputError, match=message):
        prepare(store, workers, plan)
    newest = store.runs()[0]
    assert (newest.run.step, newest.state) == (step, "failed")


@pytest.mark.slow
def test_sound_files_pass_all_checks_that_come_before_training(tmp_path: Path, workers: Workers) -> None:
    """So that the refusals above are not those of everything."""
    store = Store.open(tmp_path / "store")
    prepare(store, workers, build_plan(load_config(files_config(tmp_path))))
    assert {run.state for run in store.runs()} == {"succeeded"}


@pytest.mark.slow
def test_the_command_ends_with_code_2_on_a_broken_line_and_has_trained_nothing(tmp_path: Path, server: str) -> None:
    home = Home(tmp_path / "home", server, "files")
    config = files_config(tmp_path, documents=[document(1), '{"text": "brok'])
    finished = home.halter("run", config)
    assert finished.code == 2
    assert "error: data.documents: " in finished.err
    assert "documents.jsonl line 2" in finished.err
    assert "Traceback" not in finished.err
    assert home.runs() == [], "it was found before a server was started"
    assert home.states()["base", "import_data"] == "missing"
    assert home.processes() == []


@pytest.mark.slow
def test_a_misspelt_key_ends_the_command_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(POCKET + "itrations: 3\n")
    home = Home(tmp_path / "home")
    finished = home.halter("run", path)
    assert finished.code == 2
    assert finished.err == f"error: {path}: there is no key itrations; did you mean iterations?\n"
    assert not home.folder.exists()


def test_a_missing_base_model_ends_the_command_at_once(halter: Halter, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(POCKET + "base_model: nowhere\n")
    result = halter("run", path)
    assert result.exit_code == 2
    assert f"base_model: there is no folder {tmp_path}/nowhere" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["lineage", "model/policy@V1"], ["rerun", "V1", "ppo"]])
def test_commands_that_speak_of_a_run_say_how_to_start_one(halter: Halter, command: list[str]) -> None:
    result = halter(*command)
    assert result.exit_code == 2
    assert "start one with `halter run configs/smoke.yaml`" in result.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["rerun", "V7", "ppo"], "there is no iteration 'V7'; there are base, V0, V1, V2"),
        (["rerun", "V1", "ppo"], "V1 has no step 'ppo'; there are draw-pairs, collect-preferences"),
        (["rerun", "V1", "safety-reward", "--set", "sft.epochs=3"], "step train_safety_reward of V1 does not read it"),
        (["rerun", "V1", "safety-reward", "--set", "reward.margin=large"], "did you mean reward.margins?"),
        (["rerun", "V1", "safety-reward", "--set", "reward.margins=huge"], "(given: 'huge')"),
        (["rerun", "V1", "safety-reward", "--set", "reward.margins"], "write KEY=VALUE"),
        (["rerun", "V1", "safety-reward", "--set", "seed=[1"], "--set seed=[1: the value is not YAML"),
        (
            ["rerun", "V1", "safety-reward", "--unset", "reward.margins"],
            "not set by hand for train_safety_reward of V1",
        ),
        (["rerun", "V1", "safety-reward", "--run", "other"], "there is no run 'other'"),
        (["lineage", "model/policy@V9"], "there is no asset model/policy@V9"),
        (["lineage", "policy"], "'policy' is not an asset name: write kind/name@part"),
        (["status", "--run", "other"], "there are: pocket"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_refused_with_those_there_are_and_changes_nothing(
    on_first_run: Halter, tmp_path: Path, command: list[str], message: str
) -> None:
    result = on_first_run(*command)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert Store.open(tmp_path / "home" / "pocket").overrides() == []


def test_values_that_no_plan_can_be_made_with_can_be_taken_back(on_first_run: Halter, tmp_path: Path) -> None:
    """A config can change under a value that was set by hand."""
    store = Store.open(tmp_path / "home" / "pocket")
    store.set_override("V2", "ppo", "ppo.batch_size", 9)
    result = on_first_run("status")
    assert result.exit_code == 2
    assert "`halter rerun V2 ppo --unset ppo.batch_size --run pocket` takes it back" in result.stderr
    result = on_first_run("rerun", "V2", "ppo", "--unset", "ppo.kl_coef")
    assert result.exit_code == 2
    assert "set is ppo.batch_size" in result.stderr


def test_status_calls_fresh_what_is_up_to_date_whatever_failed_since(on_first_run: Halter, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home" / "pocket")
    (run,) = store.runs(step="ppo")
    failed = replace(run.run, run_id=new_run_id(), started_at=now(), config={**run.run.config, "seed": 1})
    store.begin_run(failed)
    cells = {cell["step"]: cell for cell in json.loads(on_first_run("status", "--json").stdout)["steps"]}
    assert cells["ppo"]["state"] == "fresh", "begun with another recipe, and nobody works on it"
    store.finish_run(failed.run_id, "failed", "no luck")
    cells = {cell["step"]: cell for cell in json.loads(on_first_run("status", "--json").stdout)["steps"]}
    assert cells["ppo"]["state"] == "fresh"


def test_garbage_is_collected_again_once_a_command_is_loaded_and_what_was_loaded_is_passed_over() -> None:
    program = """
import gc
from flows.commands.help_panels import InPanels
InPanels(name="halter").commands["status"]
from flows.session import recall
print(gc.isenabled(), any(found is recall for found in gc.get_objects()))
"""
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"]


def test_help_names_every_command(halter: Halter) -> None:
    result = halter("--help")
    assert result.exit_code == 0
    for command in ("run", "rerun", "serve", "status", "lineage"):
        assert f" {command} " in result.stdout
