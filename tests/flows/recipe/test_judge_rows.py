"""Judges of evaluations in the plan: a step each, beside what would be there without them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.gates import is_needed
from flows.recipe.config import RunConfig
from flows.recipe.judge_rows import judges_of
from flows.recipe.plan import Plan, build_plan, groups_of
from flows.recipe.table import known_step
from flows.recipe.watch_config import GateConfig
from tasks.incoming.asked import AskedOfAnswers
from tasks.incoming.judged_answers import JudgedAnswers
from tasks.judge_answers import judge_answers
from tests.flows.recipe_runs import POCKET

BIG = {"name": "big", "endpoint": {"url": "http://localhost:1/v1", "model": "large"}}


def config(**evaluate: Any) -> RunConfig:
    content = yaml.safe_load(POCKET)
    return RunConfig.model_validate({**content, "evaluate": {**content["evaluate"], **evaluate}})


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = {"name": "little", "folder": str(tmp_path_factory.mktemp("little"))}
    return build_plan(config(judges=[BIG, folder], against=["previous"]))


def fingerprints(plan: Plan) -> dict[tuple[str, str], str]:
    return {key: call.fingerprint({}) for key, call in plan.items()}


def test_judges_change_nothing_of_what_a_run_without_them_computes(plan: Plan) -> None:
    without, found = fingerprints(build_plan(config())), fingerprints(plan)
    assert {key: found[key] for key in without} == without
    assert {step for _, step in found.keys() - without.keys()} == {
        "check_base",  # of the folder
        "pose_questions",
        "pose_sampled_questions",
        *(f"judge_{sampled}answers_{name}" for sampled in ("", "sampled_") for name in ("big", "little")),
    }


def test_a_second_judge_changes_nothing_of_the_first_ones(plan: Plan) -> None:
    alone, found = fingerprints(build_plan(config(judges=[BIG], against=["previous"]))), fingerprints(plan)
    assert {key: found[key] for key in alone} == alone


def test_every_policy_is_judged_by_every_judge_and_its_step_is_known_by_name(plan: Plan) -> None:
    for part, evaluation in (("V0", "evaluate"), ("V1", "evaluate"), ("V2", "evaluate_sampled"), ("V2", "evaluate")):
        assert list(judges_of(plan, part, evaluation)) == ["big", "little"]
    assert judges_of(plan, "V1", "evaluate_sampled") == {}
    assert judges_of(plan, "V1", "fine_tune") == {}
    assert known_step("judge_sampled_answers_big") is judge_answers
    assert known_step("nobody") is None


def test_a_policy_is_compared_with_sft_and_with_the_iteration_before(plan: Plan) -> None:
    def others(part: str, step: str = "pose_questions") -> list[str]:
        return [asset.part for asset in plan[part, step].assets.get("others", ())]

    assert others("V0") == []
    assert others("V1") == ["V0"], "the iteration before is SFT"
    assert others("V2") == others("V2", "pose_sampled_questions") == ["V0", "V1"]
    assert "win_rate/against_previous@big" in plan["V2", "judge_answers_big"].metrics
    assert "win_rate/against_previous@big" not in plan["V1", "judge_answers_big"].metrics
    assert "win_rate@big" not in plan["V0", "judge_answers_big"].metrics
    for call in plan.values():
        assert call.step.headline in call.metrics, call.key


@pytest.mark.conformance(
    "an evaluation by a judge that training has seen", equation="flows.recipe.judge_rows:judge_rows"
)
def test_judges_read_questions_alone_and_nothing_reads_what_they_say(plan: Plan) -> None:
    judged = {asset for (_, step), call in plan.items() if step.startswith("judge_") for asset in call.outputs.values()}
    assert len(judged) == 8
    for call in plan.values():
        assert not judged & {asset for assets in call.assets.values() for asset in assets}, call.key
    (asked,) = plan["V1", "judge_answers_big"].of(AskedOfAnswers)
    assert str(asked.pairs) == "dataset/evaluation-questions@V1"
    assert plan["V1", "judge_answers_little"].files["judge"]


def test_a_judges_folder_is_looked_at_before_anything_is_computed(plan: Plan) -> None:
    assert [call.step.name for call in groups_of(plan, "base")[0]] == ["check_base"]
    assert set(plan["base", "check_base"].inputs) == {"evaluation_judges"}


def test_a_safety_classifier_learns_in_the_foundation_and_judges_what_is_unsafe_alone(tmp_path: Path) -> None:
    judges = [{"name": "own", "kind": "safety_classifier"}]
    content = yaml.safe_load(POCKET)
    content["evaluate"] |= {"judges": judges, "against": ["previous"]}
    with pytest.raises(ValueError, match=r"data.labelled_responses and a judge of kind safety_classifier .* together"):
        RunConfig.model_validate(content)
    content["data"]["labelled_responses"] = [str(tmp_path / "labelled.jsonl")]
    found = build_plan(RunConfig.model_validate(content))
    without = fingerprints(build_plan(config()))
    assert {key: fingerprints(found)[key] for key in without} == without
    assert ("base", "train_safety_classifier") in found
    for part in ("V0", "V1", "V2"):
        call = found[part, "judge_answers_own"]
        turns = {f"violation/{turns}_turn@own" for turns in ("single", "multi")}
        assert set(call.metrics) == {"violation@own", *turns, "balanced_accuracy@own", "seconds", "processor_seconds"}
        assert call.step.headline == "violation@own"
    readers = [key for key, call in found.items() if "classifier/safety@base" in str(call.inputs)]
    assert all(step.startswith("judge_") for _, step in readers), "nothing else reads it"
    content["evaluate"] = {"judges": []}
    with pytest.raises(ValueError, match="go together"):
        RunConfig.model_validate(content)


TEAM: dict[str, Any] = {"name": "team", "kind": "people", "people": {"per_item": 2}}


def test_people_judge_the_last_policy_or_those_of_all_iterations() -> None:
    def asked(**people: Any) -> list[tuple[str, str]]:
        plan = build_plan(config(judges=[{**TEAM, "people": people}]))
        return [key for key, call in plan.items() if call.of(JudgedAnswers)]

    assert asked() == [("V2", "judge_answers_team")]
    every = [("V1", "judge_answers_team"), ("V2", "judge_sampled_answers_team"), ("V2", "judge_answers_team")]
    assert asked(policies="every") == every, "V0 is what they are shown beside"


def test_more_prompts_and_other_people_are_a_batch_of_their_own_that_names_no_policy() -> None:
    def batch(name: str = "team", **people: Any) -> str:
        plan = build_plan(config(judges=[{**TEAM, "name": name, "people": people}]))
        (asked,) = plan["V2", f"judge_answers_{name}"].of(JudgedAnswers)
        return asked.batch("V2", "a" * 64)

    assert batch() == batch(per_item=3, deadline_hours=4), "how many judge, and until when, is asked anew of no batch"
    assert len({batch(), batch("others"), batch(prompts=7)}) == 3
    assert "v2" not in batch()


def test_nothing_waits_for_people_who_evaluate_unless_a_gate_does() -> None:
    of = config(judges=[{**TEAM, "people": {"policies": "every"}}])
    plan = build_plan(of)
    call = plan["V1", "judge_answers_team"]
    gate = GateConfig.model_validate({"step": "judge_answers_team", "metric": "win_rate@team", "at_least": 0.5})
    assert not is_needed(plan, [], call)
    assert is_needed(plan, [gate], call)
    assert not is_needed(plan, [gate.model_copy(update={"iterations": ("V2",)})], call)
    assert is_needed(plan, [], plan["V1", "collect_preferences"])


def test_the_gold_reward_model_judges_under_its_own_name_or_the_one_it_is_given() -> None:
    content = yaml.safe_load(POCKET)
    content["reward"]["gold_percent"] = 20

    def judges(*named: dict[str, Any]) -> list[str]:
        of = RunConfig.model_validate({**content, "evaluate": {**content["evaluate"], "judges": list(named)}})
        return list(judges_of(build_plan(of), "V2", "evaluate"))

    assert judges() == ["gold"]
    assert judges(BIG) == ["big", "gold"]
    assert judges({"name": "kept", "kind": "gold_reward"}) == ["kept"]
    with pytest.raises(ValueError, match="gold is the gold reward model: take another name"):
        judges({**BIG, "name": "gold"})


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"judges": [BIG, BIG]}, "two are called big"),
        ({"judges": [{"name": "none"}]}, "give folder or endpoint, one of them"),
        ({"judges": [{**BIG, "folder": "x"}]}, "give folder or endpoint, one of them"),
        ({"judges": [{**BIG, "name": "Big-1"}]}, "should match pattern"),
        ({"judges": [{**BIG, "kind": "safety_classifier"}]}, "has no folder and no endpoint"),
        ({"against": ["previous"]}, "give a judge in judges"),
        ({"judges": [{"name": "gold", "kind": "gold_reward"}]}, "set reward.gold_percent"),
        ({"judges": [{"name": "team", "kind": "people"}]}, "people: {} asks what is asked by default"),
        ({"judges": [{**BIG, "people": {}}]}, "kind: people and the section people go together"),
        ({"judges": [{**TEAM, "folder": "x"}]}, "people have no folder and no endpoint"),
    ],
)
def test_what_cannot_be_meant_is_refused(evaluate: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**evaluate)


def test_a_judges_folder_is_beside_the_config_file_and_must_be_a_model(tmp_path: Path) -> None:
    from data_store.errors import InputError
    from flows.recipe.config import load_config

    content = yaml.safe_load(POCKET)
    content["evaluate"]["judges"] = [{"name": "near", "folder": "model"}]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"evaluate.judges: near: folder: there is no folder .*/model"):
        load_config(tmp_path / "run.yaml")
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_text("{}")
    assert load_config(tmp_path / "run.yaml").evaluate.judges[0].folder == tmp_path / "model"
