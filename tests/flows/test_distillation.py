"""A small run that learns from the picks of a larger one, as Llama 2's smaller models did."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import RunOutput
from flows.recipe.config import RunConfig
from flows.recipe.plan import build_plan
from flows.session import Session, session_of
from flows.shown.lineage_text import lineage_lines
from flows.shown.lineage_view import lineage_document
from flows.shown.status import status_cells
from flows.shown.summary import summary_rows
from tasks.engine.execute import Outcome, execute
from tasks.incoming.adopted import Adopted
from tests.flows.recipe_runs import POCKET, Finished, Home

POLICY = AssetName("model", "policy", "V1")
PICKS = AssetName("source", "pocket-picks-v1", "external")
Outcomes = dict[tuple[str, str], Outcome]


def content_of(**changes: Any) -> dict[str, Any]:
    """The pocket recipe with a smaller model and another tokenizer, distilled from the pocket."""
    content = yaml.safe_load(POCKET)
    return {
        **content,
        "name": "small",
        "iterations": 1,
        "tokenizer": {**content["tokenizer"], "vocab_size": 360},
        "model": {**content["model"], "hidden_size": 16, "ffn_size": 32},
        "gatt": None,
        "final_stage": "none",
        "distill": {"run": "pocket"},
        **changes,
    }


def config_of(**changes: Any) -> RunConfig:
    return RunConfig.model_validate(content_of(**changes))


def bring_up_to_date(session: Session) -> Outcomes:
    session.adopt()
    return {key: execute(session.store, session.workers, call) for key, call in session.plan.items()}


def test_the_picks_take_the_place_of_preferences_reward_models_and_sampling() -> None:
    plan = build_plan(config_of(iterations=2))
    assert [key for key in plan if key[0] not in ("base", "V0")] == [
        ("V1", "fine_tune"), ("V1", "evaluate"), ("V2", "fine_tune"), ("V2", "evaluate"),
    ]  # fmt: skip
    for number in (1, 2):
        call = plan[f"V{number}", "fine_tune"]
        assert call.inputs["picks"] == (Adopted("pocket", AssetName("dataset", "picks", f"V{number}")),)
        assert call.assets["policy"] == (AssetName("model", "policy", f"V{number - 1}"),)
        assert "picks" not in call.assets
    made: set[AssetName] = set()
    for call in plan.values():
        assert {asset for assets in call.assets.values() for asset in assets} <= made
        made |= set(call.outputs.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill": {"run": "small"}}, "the name of another run"),
        ({"distill": {"run": "../pocket"}}, "cannot name a run"),
        ({"final_stage": "ppo"}, "final_stage: none"),
        ({"gatt": {"first_iteration": 1}}, "gatt: null"),
        ({"context_distillation": {}}, "context_distillation: null"),
        ({"reward": {"gold_percent": 20}}, "no reward.gold_percent"),
        ({"collect": {"people": {}}}, "take collect.people and collect.judge out"),
        ({"data": {"documents": ["a"], "demonstrations": ["b"], "safety_preferences": ["c"]}}, "reads no preferences"),
    ],
)
def test_what_needs_reward_models_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of(**changes)


def test_files_need_no_preferences_where_only_picks_are_learned() -> None:
    files = {role: [f"/data/{role}.jsonl"] for role in ("documents", "demonstrations", "helpfulness_prompts")}
    plan = build_plan(config_of(data=files, annotator=None))
    assert "preferences" not in plan["base", "import_data"].outputs
    assert "preferences" not in plan["base", "fit_context"].inputs


@pytest.mark.slow
def test_a_run_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(content_of()))
    finished = Home(tmp_path / "home", name="small").halter("run", file)
    assert finished.code == 2
    assert "distill.run: there is no run 'pocket'" in finished.err
    assert "there are: none" in finished.err.replace("\n", " ")
    assert Home(tmp_path / "home", name="small").runs() == []


@pytest.fixture(scope="module")
def distilled(first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcomes]:
    """A copy of the pocket's home in which the small run was made beside it."""
    home = tmp_path_factory.mktemp("distilled") / "home"
    shutil.copytree(first_run[0].folder, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home))
        with session_of(config_of()) as session:
            return home, bring_up_to_date(session)


@pytest.mark.slow
def test_the_small_model_learns_the_picks_and_its_lineage_leads_to_the_run_that_made_them(
    distilled: tuple[Path, Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, outcomes = distilled
    monkeypatch.setenv("HALTER_HOME", str(home))
    there = Home(home).store.heads()[AssetName("dataset", "picks", "V1")]
    metrics = outcomes["V1", "fine_tune"].metrics
    assert metrics["picks"] - metrics["too_long"] > 0
    with session_of(config_of()) as session:
        rows, cells = summary_rows(session), status_cells(session.store, session.plan)
        document = lineage_document(session.store, POLICY)
        assert session.store.rows(there.version_id).equals(Home(home).store.rows(there.version_id))
    assert [row["policy"] for row in rows] == ["V0", "V1"]
    assert {cell.state for cell in cells} == {"fresh"}
    (source,) = [entry for entry in document["sources"] if entry["asset"] == str(PICKS)]
    assert source["version"] == there.version_id
    assert (
        f"run pocket: dataset/picks@V1 version {there.version_id}, made by its run {there.run_id}" in source["origin"]
    )
    assert {fact: source["facts"][fact] for fact in ("kind", "run", "from_asset", "from_version", "made_by")} == {
        "kind": "adopted",
        "run": "pocket",
        "from_asset": "dataset/picks@V1",
        "from_version": there.version_id,
        "made_by": there.run_id,
    }
    assert all(len(file["sha256"]) == 64 for file in source["files"])
    text = "\n".join(lineage_lines(document))
    assert source["origin"] in text
    assert not document["reward_models"]


@pytest.mark.slow
def test_other_picks_make_it_stale_and_without_the_other_store_all_stays(
    distilled: tuple[Path, Outcomes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(distilled[0], home)
    monkeypatch.setenv("HALTER_HOME", str(home))
    other = Home(home).store
    newer, picks = other.heads()[AssetName("dataset", "picks", "V2")], AssetName("dataset", "picks", "V1")
    record = replace(other.runs(step="rejection_sample", part="V1")[0].run, run_id="0" * 32, fingerprint="other")
    published = other.publish("dataset", other.checkout(newer.version_id), row_kind="dialogue")
    other.commit_run(record, [], {"picks": RunOutput(picks, published)})
    with session_of(config_of()) as session:
        session.adopt()
        states = {(cell.part, cell.step): cell.state for cell in status_cells(session.store, session.plan)}
        stale = {key for key, state in states.items() if state == "stale"}
        assert stale == {("V1", "fine_tune"), ("V1", "evaluate")}
        outcome = execute(session.store, session.workers, session.plan["V1", "fine_tune"])
        assert not outcome.cached
        assert (PICKS, newer.version_id) in [(entry.asset, entry.version_id) for entry in outcome.inputs]
        shutil.rmtree(home / "pocket")
        assert execute(session.store, session.workers, session.plan["V1", "fine_tune"]).cached
        execute(session.store, session.workers, session.plan["V1", "fine_tune"], force=True)
        with pytest.raises(InputError, match="there is no run 'pocket'"):
            execute(session.store, session.workers, build_plan(config_of(iterations=2))["V2", "fine_tune"])
