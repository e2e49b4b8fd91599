"""The pocket recipe with DPO as its last stage, step by step through the plan, without Prefect."""

from pathlib import Path

import pytest
import yaml

from data_store.names import AssetName
from flows.recipe.config import RunConfig
from flows.session import Session, session_of
from flows.shown.status import status_cells
from flows.shown.summary import summary_rows
from tasks.engine.execute import Outcome, execute
from tasks.train_reward import is_gold, mix
from tests.flows.recipe_runs import POCKET

pytestmark = pytest.mark.slow  # each stands on two more last stages

Outcomes = dict[tuple[str, str], Outcome]


def bring_up_to_date(session: Session) -> Outcomes:
    return {key: execute(session.store, session.workers, call) for key, call in session.plan.items()}


def config_of(stage: str) -> RunConfig:
    content = yaml.safe_load(POCKET)
    content["reward"]["gold_percent"] = 25
    return RunConfig.model_validate({**content, "iterations": 1, "gatt": None, "final_stage": stage})


@pytest.fixture(scope="module")
def with_dpo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcomes]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home))
        with session_of(config_of("dpo")) as session:
            return home, bring_up_to_date(session)


def test_dpo_makes_the_last_policy_from_the_fine_tuned_one(with_dpo: tuple[Path, Outcomes]) -> None:
    outcome = with_dpo[1]["V1", "dpo"]
    assert outcome.outputs["policy"][0] == AssetName("model", "policy", "V1")
    assert {str(entry.asset) for entry in outcome.inputs} == {"model/policy-sampled@V1", "dataset/preferences@V1"}
    assert outcome.metrics["pairs"] > outcome.metrics["validation_pairs"] > 0
    assert 0 <= outcome.metrics["best_validation_accuracy"] <= 1
    before = with_dpo[1]["V1", "fine_tune"].outputs["policy"][1]
    assert (outcome.outputs["policy"][1] == before) == (outcome.metrics["best_step"] == 0)


@pytest.mark.conformance("over-optimisation unseen", equation="tasks.train_reward:is_gold")
def test_the_gold_reward_model_and_the_others_learn_from_different_pairs(
    with_dpo: tuple[Path, Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTER_HOME", str(with_dpo[0]))
    outcomes, config = with_dpo[1], config_of("dpo")
    with session_of(config) as session:
        version = outcomes["V1", "collect_preferences"].outputs["preferences"][1]
        rows = [row for row in session.store.rows(version).to_pylist() if row["split"] == "train"]
        seeds = {step: call.seed for (part, step), call in session.plan.items() if part == "V1"}
    others = [row for row in rows if not is_gold(row, 25)]
    assert outcomes["V1", "train_gold_reward"].metrics["pairs"] == len(rows) - len(others) > 0
    for axis, share in (
        ("safety", config.reward.safety_other_share),
        ("helpfulness", config.reward.helpfulness_other_share),
    ):
        step = f"train_{axis}_reward"
        assert outcomes["V1", step].metrics["pairs"] == len(mix(others, axis, share, seeds[step]))
    dpo = outcomes["V1", "dpo"].metrics
    unsafe = sum(row["safety_label"] == "both_unsafe" for row in others)
    assert dpo["pairs"] + dpo["validation_pairs"] == len(others) - unsafe


@pytest.mark.conformance("over-optimisation unseen", equation="tasks.evaluation_judges.gold_reward:GoldReward.judge")
def test_the_gold_reward_model_judges_before_and_after_and_is_in_no_policy(
    with_dpo: tuple[Path, Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = with_dpo[1]
    trained = outcomes["V1", "train_gold_reward"]
    monkeypatch.setenv("HALTER_HOME", str(with_dpo[0]))
    with session_of(config_of("dpo")) as session:
        for step, evaluated in (("judge_sampled_answers_gold", "evaluate_sampled"), ("judge_answers_gold", "evaluate")):
            found, (_, version) = outcomes["V1", step].estimates, outcomes["V1", step].outputs["judgements"]
            rows = session.store.rows(version)
            values = [row["value"] for row in rows.to_pylist()]
            won, accuracy = found["win_rate@gold"], found["accuracy@gold"]
            assert (won.value, won.n) == (pytest.approx(sum(values) / len(values)), len(values)), "of these very rows"
            assert (won.judge, set(rows.column("against").to_pylist())) == ("gold-reward:gold", {"V0"})
            assert accuracy == trained.estimates["accuracy/all"], "what its training has found of it"
            assert accuracy.n > 0
            assert found["reward@gold"].value != outcomes["V1", evaluated].metrics["reward"]
        behind = session.store.lineage(AssetName("model", "policy", "V1"))
    assert "model/reward-safety@V1" in {str(edge.asset) for edge in behind.edges}
    assert "model/reward-gold@V1" not in {str(edge.asset) for edge in behind.edges}


def test_the_figures_stand_before_and_after_dpo(
    with_dpo: tuple[Path, Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTER_HOME", str(with_dpo[0]))
    with session_of(config_of("dpo")) as session:
        rows = summary_rows(session)
        cells = status_cells(session.store, session.plan)
    assert [row["policy"] for row in rows] == ["V0", "V1 before DPO", "V1 + DPO"]
    assert rows[-1]["KL"] != "–"
    assert {cell.state for cell in cells} == {"fresh"}
    assert all(cell.figure is not None for cell in cells)


def test_another_last_stage_takes_everything_before_it_up_again(
    with_dpo: tuple[Path, Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which splits of prompts a stage needs is checked again, and nothing else."""
    monkeypatch.setenv("HALTER_HOME", str(with_dpo[0]))
    with session_of(config_of("ppo")) as session:
        outcomes = bring_up_to_date(session)
        rows = summary_rows(session)
    computed = [key for key, outcome in outcomes.items() if not outcome.cached]
    judged = {("V1", "pose_questions"), ("V1", "judge_answers_gold")}
    assert set(computed) <= {("base", "fit_context"), ("V1", "ppo"), ("V1", "evaluate"), *judged}
    assert ("V1", "ppo") in computed
    assert [row["policy"] for row in rows] == ["V0", "V1 before PPO", "V1 + PPO"]
