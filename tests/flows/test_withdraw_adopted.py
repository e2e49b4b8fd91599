"""A run that took another run's picks is reached by what is withdrawn there."""

import shutil
from pathlib import Path

import pytest
import yaml

from data_store.identity import CONFIG_FILE
from data_store.incoming.adoption import adopt
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.withdrawals import withdraw
from flows.recipe.config import RunConfig
from flows.recipe.plan import build_plan
from flows.session import remember
from flows.withdrawals import erase, reaches, taint_today, tainted_cells
from tests.data_store.fixture_store import STORES, unpack
from tests.data_store.store_bench import Bench
from tests.data_store.upkeep.test_withdrawals import judgements
from tests.flows.recipe_runs import POCKET
from tests.flows.test_distillation import config_of

PICKS = AssetName("dataset", "picks", "V1")
COMMANDS = {
    "pocket": "halter rerun V1 collect-preferences --downstream --run pocket",
    "small": "halter rerun V1 fine-tune --downstream --run small",
}


def sampled(bench: Bench, *judges: str) -> None:
    """Judgements, a reward model and the picks it made."""
    bench.run("collect_preferences", {"dataset/preferences@V1": judgements(bench, *judges)})
    bench.run("train_safety_reward", {"model/reward-safety@V1": " ".join(judges)}, ("dataset/preferences@V1",))
    picks = bench.publish(f"picks after {judges}", "dataset")
    bench.run("rejection_sample", {str(PICKS): picks}, ("model/reward-safety@V1",))


def distilled(bench: Bench, text: str) -> None:
    """The small policy, from the picks as they are now."""
    head = adopt(bench.store, "pocket", PICKS)
    bench.run("fine_tune", {"model/policy@V1": text}, (str(head.asset),))


@pytest.mark.slow
def test_the_small_runs_policy_is_redone_after_the_picks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    pocket, small = RunConfig.model_validate(yaml.safe_load(POCKET)), config_of()
    remember(pocket)
    remember(small)
    there, here = (Bench(Store.open(tmp_path / "home" / name), tmp_path / name) for name in (pocket.name, small.name))
    sampled(there, "anna", "ben")
    distilled(here, "learned from both")
    plan = build_plan(small)
    assert tainted_cells(here.store, plan, taint_today(here.store)) == {}

    withdraw(there.store, "annotator", "anna", "she asked for it")
    assert tainted_cells(here.store, plan, taint_today(here.store)) == {
        ("V1", "fine_tune"): "source/pocket-picks-v1@external is tainted"
    }
    (withdrawal,) = there.store.withdrawals()
    found = reaches(pocket, there.store, withdrawal)
    assert {each.run: each.commands for each in found} == {run: (command,) for run, command in COMMANDS.items()}
    assert [each.run for each in found] == ["pocket", "small"], "the picks come first"

    sampled(there, "ben")
    assert ("V1", "fine_tune") in tainted_cells(here.store, plan, taint_today(here.store)), "it has the old ones"
    distilled(here, "learned from ben")
    assert tainted_cells(here.store, plan, taint_today(here.store)) == {}
    found = reaches(pocket, there.store, withdrawal)
    assert [each.commands for each in found] == [(), ()]
    done = erase(found, withdrawal, dry_run=False)
    assert {run: len(each.retired) for run, each in done.items()} == {"pocket": 3, "small": 2}
    texts = b"".join(here.store.objects.path(sha256).read_bytes() for sha256, _ in here.store.objects.all())
    assert b"both" not in texts
    assert b"learned from ben" in texts


@pytest.mark.slow
def test_a_run_whose_catalog_is_of_an_older_schema_is_reached_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has opened it since halter was upgraded."""
    home = tmp_path / "home"
    monkeypatch.setenv("HALTER_HOME", str(home))
    big = RunConfig.model_validate({**yaml.safe_load(POCKET), "name": "big"})
    remember(big)
    there = Bench(Store.open(home / "big"), tmp_path / "work")
    there.run("collect_preferences", {"dataset/preferences@V1": judgements(there, "anna")})
    there.run("train_safety_reward", {"model/reward-safety@V1": "reward"}, ("dataset/preferences@V1",))
    there.run("rejection_sample", {str(PICKS): "picks"}, ("model/reward-safety@V1",))
    withdraw(there.store, "annotator", "anna", "she asked for it")

    remember(config_of())
    config = (home / "small" / CONFIG_FILE).read_bytes()
    shutil.rmtree(home / "small")
    root, _ = unpack(STORES / "schema-5-book-2.tar.gz", tmp_path / "older")
    root.rename(home / "small")
    (home / "small" / CONFIG_FILE).write_bytes(config)
    (withdrawal,) = there.store.withdrawals()
    found = reaches(big, there.store, withdrawal)
    assert [each.run for each in found] == ["big", "small"]
    assert [version.assets for version in found[1].versions] == [("source/big-picks-v1@external",)]
