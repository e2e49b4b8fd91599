"""Redoing one step of a finished run: what is computed, what becomes stale, what is brought up to date."""

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml

from flows.recipe.config import RunConfig
from flows.session import remember
from tests.flows.recipe_runs import POCKET, Finished, Home

CHANGED = ("V1", "train_safety_reward")
FED = {
    ("V1", "rejection_sample"),
    ("V1", "fine_tune"),
    ("V1", "evaluate"),
    ("V1", "measure_reward_models"),
    ("V2", "draw_pairs"),
    ("V2", "collect_preferences"),
    ("V2", "train_safety_reward"),
    ("V2", "train_helpfulness_reward"),
    ("V2", "rejection_sample"),
    ("V2", "synthesize_gatt"),
    ("V2", "fine_tune"),
    ("V2", "ppo"),
    ("V2", "evaluate_sampled"),
    ("V2", "evaluate"),
    ("V2", "measure_reward_models"),
}


@pytest.mark.slow
@pytest.mark.conformance("rerun reuses what is stale", equation="data_store.catalog.lineage:stale")
@pytest.mark.conformance("stale stops at the next iteration", equation="data_store.catalog.lineage:stale")
def test_a_step_that_is_redone_runs_alone_and_makes_stale_what_it_feeds_and_nothing_else(
    first_run: tuple[Home, Finished], redone: tuple[Home, dict[str, str]]
) -> None:
    before, (home, said) = first_run[0], redone
    new = home.runs()[len(before.runs()) :]
    assert new == [(*CHANGED, "succeeded")]
    states = home.states()
    assert {key for key, state in states.items() if state == "stale"} == FED
    assert {state for key, state in states.items() if key not in FED} == {"fresh"}
    assert f"{len(FED)} steps are stale now" in said["halter rerun V1 safety-reward --set reward.margins=large"]
    assert {(cell["part"], cell["step"]) for cell in home.look("stale", "--json").document["stale"]} == FED
    changed = {name for name, version in home.heads().items() if before.heads()[name] != version}
    assert changed == {"model/reward-safety@V1"}


def test_status_tells_what_was_set_by_hand_and_why_a_step_is_stale(redone: tuple[Home, dict[str, str]]) -> None:
    document = redone[0].look("status", "--json").document
    assert document["overrides"] == [
        {"part": "V1", "step": "train_safety_reward", "key": "reward.margins", "value": "large"}
    ]
    reasons = {(cell["part"], cell["step"]): cell["reason"] for cell in document["steps"]}
    assert reasons["V1", "rejection_sample"] == "a newer model/reward-safety@V1 is there"
    assert reasons["V2", "ppo"].endswith(" is stale")


@pytest.mark.slow
@pytest.mark.conformance("rerun recomputes what is valid", equation="tasks.engine.execute:execute")
def test_bringing_up_to_date_computes_just_what_is_stale(
    first_run: tuple[Home, Finished], redone: tuple[Home, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    original = first_run[0].heads()
    home = replace(redone[0], folder=tmp_path_factory.mktemp("downstream") / "home")
    shutil.copytree(redone[0].folder, home.folder)
    before = home.runs()

    # the value is still set, so there is nothing to do for the step itself
    finished = home.halter("rerun", "V1", "safety-reward", "--set", "reward.margins=large", "--downstream", "--json")
    assert finished.code == 0, finished.err
    new = home.runs()[len(before) :]
    assert {state for _, _, state in new} == {"succeeded"}
    assert {(part, step) for part, step, _ in new} <= FED
    assert new[0][:2] == ("V1", "rejection_sample")
    assert len(new) == len(set(new)), "nothing is computed twice"
    assert finished.document["stale"] == []
    assert set(home.states().values()) == {"fresh"}
    assert home.head("dataset/scores@V1") != original["dataset/scores@V1"]


@pytest.mark.slow
def test_redoing_an_unchanged_step_gives_the_same_bytes_and_makes_nothing_stale(
    copy_of_first_run: Callable[[], Home],
) -> None:
    home = copy_of_first_run()
    before, heads = home.runs(), home.heads()
    finished = home.halter("rerun", "V1", "fine-tune", "--json")
    assert finished.code == 0, finished.err
    assert home.runs()[len(before) :] == [("V1", "fine_tune", "succeeded")]
    assert finished.document == {"step": "fine_tune", "part": "V1", "stale": []}
    assert home.heads() == heads


def test_nothing_is_deleted_by_a_rerun(first_run: tuple[Home, Finished], redone: tuple[Home, dict[str, str]]) -> None:
    old = first_run[0].head("model/reward-safety@V1")
    assert (redone[0].store.checkout(old) / "model.safetensors").is_file()
    assert {path.name for path in (first_run[0].folder / "pocket" / "journal").iterdir()} <= {
        path.name for path in (redone[0].folder / "pocket" / "journal").iterdir()
    }


@pytest.mark.slow
def test_the_command_that_a_rerun_prints_goes_on_in_the_same_run_also_where_another_is_the_last(
    copy_of_first_run: Callable[[], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_of_first_run()
    monkeypatch.setenv("HALTER_HOME", str(home.folder))
    remember(RunConfig.model_validate({**yaml.safe_load(POCKET), "name": "other"}))
    finished = home.halter("rerun", "V2", "ppo", "--set", "ppo.kl_coef=0.2", "--run", "pocket")
    assert finished.code == 0, finished.err
    (printed,) = re.findall(r"^bring them up to date: halter (.*)$", finished.out, flags=re.MULTILINE)
    before = home.runs()
    again = home.halter(*shlex.split(printed))
    assert again.code == 0, again.err
    assert home.runs()[len(before) :] == [("V2", "evaluate", "succeeded")]
    assert set(home.states("--run", "pocket").values()) == {"fresh"}
    assert replace(home, name="other").runs() == []
