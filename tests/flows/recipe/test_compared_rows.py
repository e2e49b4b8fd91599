"""Policies by name that those of the run are compared with: whose answers are read where, and who answers first."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan
from flows.recipe.table import known_step
from tasks.answer_held_out import answer_held_out
from tasks.incoming.stored_model import StoredModel
from tests.flows.recipe.test_judge_rows import BIG, config, fingerprints
from tests.flows.recipe_runs import POCKET

FIRST = {"name": "first", "policy": "V1"}
BEFORE = {"name": "before", "policy": "V2:fine_tune"}
SHIPPED = {"name": "shipped", "version": "0123456789abcdef"}


def named(plan: Plan, part: str, step: str = "pose_questions") -> list[tuple[str, str]]:
    """(what the other policy is called, its answers) of the questions of a policy."""
    call = plan[part, step]
    assets = [str(asset) for asset in call.assets.get("named", ())]
    return list(zip(call.config.model_dump()["named"], assets, strict=True))


def test_policies_of_the_run_are_compared_with_those_that_were_made_before() -> None:
    plan = build_plan(config(judges=[BIG], against=[FIRST, BEFORE]))
    answers = {"first": "dataset/evaluation-responses@V1", "before": "dataset/evaluation-responses-sampled@V2"}
    assert named(plan, "V0") == named(plan, "V1") == []
    assert named(plan, "V2", "pose_sampled_questions") == [("first", answers["first"])], "not with itself"
    assert named(plan, "V2") == list(answers.items())
    metrics = plan["V2", "judge_answers_big"].metrics
    assert {"win_rate/against_first@big", "win_rate/safety/against_before@big"} <= set(metrics)
    assert not any("against" in metric for metric in plan["V1", "judge_answers_big"].metrics)


def test_a_version_and_a_folder_answer_once_in_the_foundation_and_all_iterations_read_that(tmp_path: Path) -> None:
    outside = {"name": "chat7b", "folder": str(tmp_path)}
    plan = build_plan(config(judges=[BIG], against=[SHIPPED, outside]))
    (stored,) = plan["base", "answer_as_shipped"].of(StoredModel)
    assert stored.wanted == SHIPPED["version"]
    assert plan["base", "answer_as_chat7b"].files == {"folder": (tmp_path,)}
    assert set(plan["base", "check_base"].inputs) == {"compared"}, "a folder is looked at before anything is computed"
    for key in (("V1", "pose_questions"), ("V2", "pose_sampled_questions"), ("V2", "pose_questions")):
        assert named(plan, *key) == [(name, f"dataset/answers-as-{name}@base") for name in ("shipped", "chat7b")]
    assert known_step("answer_as_shipped") is answer_held_out
    without = fingerprints(build_plan(config()))
    assert {key: fingerprints(plan)[key] for key in without} == without, "nothing else is computed again"


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ({"name": "x"}, "give policy, version or folder, one of them"),
        ({**FIRST, "version": "a"}, "give policy, version or folder, one of them"),
        ({"name": "previous", "policy": "V1"}, "previous is the iteration before"),
        ({"name": "x", "policy": "V3"}, "there is no V3; iterations is 2"),
        ({"name": "x", "policy": "V1:ppo"}, "ppo makes no policy of V1; fine_tune does"),
        ({"name": "x", "policy": "sft"}, "should match pattern"),
    ],
)
def test_what_is_no_policy_is_refused_before_anything_runs(against: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(judges=[BIG], against=[against])


def test_two_of_one_name_are_refused_and_so_is_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="against: two are called first"):
        config(judges=[BIG], against=[FIRST, {**SHIPPED, "name": "first"}])
    content = yaml.safe_load(POCKET)
    content["evaluate"] |= {"judges": [BIG], "against": [{"name": "near", "folder": "model"}]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"evaluate.against: near: folder: there is no folder .*/model"):
        load_config(tmp_path / "run.yaml")
    assert RunConfig.model_validate(content).evaluate.compared[0].answers_here
