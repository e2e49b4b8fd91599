"""What `halter run --plan` says a run would do is what the run does, and saying it starts and writes nothing."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flows.gates import GateConfig
from flows.recipe.changed_values import with_values
from flows.recipe.config import load_config
from flows.recipe.plan import build_plan, plan_today
from flows.shown.dry_run import foresee
from tests.flows.recipe_runs import POCKET, Finished, Home
from tests.flows.test_rerun import CHANGED, FED

LARGE = "reward.margins was small, is large"


@pytest.fixture
def copy(redone: tuple[Home, dict[str, str]], tmp_path: Path) -> Home:
    """A run whose V1 safety reward model was trained once more, with a value set by hand."""
    shutil.copytree(redone[0].folder, tmp_path / "home")
    return replace(redone[0], folder=tmp_path / "home")


def with_margins(tmp_path: Path, margins: str) -> Path:
    path = tmp_path / f"{margins}.yaml"
    path.write_text(POCKET.replace("reward: {", f"reward: {{margins: {margins}, "))
    return path


def test_of_a_run_without_a_store_every_step_is_new_and_no_store_is_made(pocket_file: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    said = home.look("run", str(pocket_file), "--plan", "--json")
    assert said.code == 0, said.err
    steps = said.document["steps"]
    assert [(each["part"], each["step"]) for each in steps] == list(build_plan(load_config(pocket_file)))
    assert {(each["does"], each["state"]) for each in steps} == {("compute", "new")}
    assert said.document["computed"] == len(steps) == 26
    assert not home.folder.exists()


def test_what_a_run_would_refuse_before_its_first_step_is_refused_here(
    pocket_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    home, config = Home(tmp_path / "nowhere"), tmp_path / "other.yaml"
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "big", "key_variable": "JUDGE_KEY"}
    content = yaml.safe_load(pocket_file.read_text())
    content["evaluate"] |= {"judges": [{"name": "big", "endpoint": endpoint}]}
    config.write_text(yaml.safe_dump(content))
    keyless = home.look("run", str(config), "--plan")
    assert (keyless.code, "endpoint.key_variable: the environment has no JUDGE_KEY" in keyless.err) == (2, True)
    monkeypatch.setenv("JUDGE_KEY", "sk-x")
    config.write_text(yaml.safe_dump(content | {"trackers": ["wandb"]}))
    trackerless = home.look("run", str(config), "--plan")
    assert (trackerless.code, "trackers: wandb is not installed here" in trackerless.err) == (2, True)
    assert not home.folder.exists()


@pytest.mark.slow
def test_of_a_finished_run_every_step_is_taken_up_and_nothing_is_written(
    first_run: tuple[Home, Finished], pocket_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(first_run[0].folder, tmp_path / "home", ignore=shutil.ignore_patterns(".prefect"))
    home = replace(first_run[0], folder=tmp_path / "home")
    seq = home.store.catalog.seq()
    said = home.look("run", str(pocket_file), "--plan")
    assert said.code == 0, said.err
    assert "0 of 26 steps would be computed, 26 taken up; nothing was started" in said.out
    assert home.store.catalog.seq() == seq
    assert not (home.folder / ".prefect").exists()
    assert home.processes() == []


def test_a_changed_key_is_named_with_both_values_and_what_reads_the_result_follows(
    first_run: tuple[Home, Finished], tmp_path: Path
) -> None:
    said = first_run[0].look("run", str(with_margins(tmp_path, "large")), "--plan", "--json").document
    by_key = {(each["part"], each["step"]): each for each in said["steps"]}
    changed = {key for key, each in by_key.items() if LARGE in each["reason"]}
    assert changed == {(p, s) for p in ("V1", "V2") for s in ("train_safety_reward", "train_helpfulness_reward")}
    computed = {key for key, each in by_key.items() if each["does"] == "compute"}
    assert computed == FED | changed
    assert by_key["V2", "ppo"]["seconds"] > 0
    assert {each["does"] for key, each in by_key.items() if key not in computed} == {"take up"}
    perhaps = {key for key, each in by_key.items() if each["perhaps"]}
    assert perhaps == FED - changed, "a model may come out as it was"
    told = " ".join(first_run[0].look("run", str(with_margins(tmp_path, "large")), "--plan").out.split())
    assert f"would be computed ({len(perhaps)} of them only where what they read comes out otherwise), " in told


@pytest.mark.conformance("a dry run that says other than the run does", equation="flows.shown.dry_run:foresee")
def test_a_result_from_before_is_taken_up_again_and_all_that_was_made_of_it(copy: Home, pocket_file: Path) -> None:
    """The value set by hand is taken back: no step has to be computed, one head moves back."""
    store = copy.store
    stale = {
        (each.part, each.step)
        for each in foresee(store, plan_today(load_config(pocket_file), store))
        if each.does == "compute"
    }
    assert stale == FED
    store.unset_override(*CHANGED, "reward.margins")
    steps = foresee(store, plan_today(load_config(pocket_file), store))
    assert {each.does for each in steps} == {"take up"}
    moved = {(each.part, each.step) for each in steps if each.reason}
    assert moved == {CHANGED}
    (reason,) = {each.reason for each in steps if each.reason}
    assert re.fullmatch(r"finished before, by run [0-9a-f]{12}, which becomes the head again", reason)


def test_a_step_whose_content_is_gone_is_computed_though_nothing_is_stale(copy: Home, pocket_file: Path) -> None:
    store = copy.store
    store.unset_override(*CHANGED, "reward.margins")
    version = store.version(copy.head("tokenizer/tokenizer@base"))
    for ref in version.objects:
        store.objects.remove(ref.sha256)
    steps = {(each.part, each.step): each for each in foresee(store, plan_today(load_config(pocket_file), store))}
    assert steps["base", "train_tokenizer"].reason == "what it made is no longer in the store whole"
    assert steps["base", "filter_corpus"].does == "take up"
    assert steps["V2", "evaluate"].does == "compute"


@pytest.mark.conformance("a dry run that says other than the run does", equation="flows.shown.dry_run:foresee")
def test_what_comes_after_a_gate_that_does_not_hold_is_not_reached(
    first_run: tuple[Home, Finished], pocket_file: Path
) -> None:
    store, config = first_run[0].store, load_config(pocket_file)
    plan = plan_today(config, store)
    gate = GateConfig(step="fine_tune", metric="seconds", at_least=1e6, iterations=("V1",))
    steps = {(each.part, each.step): each for each in foresee(store, plan, [gate])}
    assert steps["V1", "fine_tune"].does == "take up"
    assert "must be" in steps["V1", "fine_tune"].gate
    missed = [key for key, each in steps.items() if each.does == "not reached"]
    assert sorted(missed) == sorted(key for key in plan if key[0] == "V2" or key == ("V1", "evaluate"))
    assert {steps[key].reason for key in missed} == {"fine_tune of V1 is at a gate"}


def test_pairs_that_people_have_to_judge_first_stop_the_run_there(
    first_run: tuple[Home, Finished], pocket_file: Path
) -> None:
    store = first_run[0].store
    config = with_values(load_config(pocket_file), {"annotator": None, "collect.people": {"per_item": 1}}, "test")
    steps = {(each.part, each.step): each for each in foresee(store, plan_today(config, store))}
    assert steps["V1", "draw_pairs"].does == "take up"
    assert steps["V1", "collect_preferences"].does == "wait"
    assert steps["V1", "rejection_sample"].reason == "collect_preferences of V1 waits for people"


@pytest.mark.slow
@pytest.mark.conformance("a dry run that says other than the run does", equation="flows.shown.dry_run:foresee")
def test_the_run_computes_what_was_foreseen(copy_of_first_run: Callable[[], Home], tmp_path: Path) -> None:
    home, config = copy_of_first_run(), with_margins(tmp_path, "large")
    steps = home.look("run", str(config), "--plan", "--json").document["steps"]
    before = home.runs()
    finished = home.halter("run", config, "--json")
    assert finished.code == 0, finished.err
    computed = {(part, step) for part, step, _ in home.runs()[len(before) :]}
    foreseen = {(each["part"], each["step"]) for each in steps if each["does"] == "compute"}
    certain = {(each["part"], each["step"]) for each in steps if each["does"] == "compute" and not each["perhaps"]}
    assert (
        {(each["part"], each["step"]) for each in steps if LARGE in each["reason"]} == certain <= computed <= foreseen
    )
    assert json.loads(home.look("run", str(config), "--plan", "--json").out)["computed"] == 0
