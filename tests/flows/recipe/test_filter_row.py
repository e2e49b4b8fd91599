"""The filter's processes: the step is told how many it may have, and nothing that it makes depends on it."""

from typing import Any

import pytest
import yaml

from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, build_plan
from tests.flows.recipe_runs import POCKET


def plan(**changes: Any) -> Plan:
    return build_plan(RunConfig.model_validate({**yaml.safe_load(POCKET), **changes}))


@pytest.mark.conformance(
    "the number of processes makes another version of the corpus", equation="tasks.engine.call:StepCall.recipe"
)
def test_how_many_processes_judge_is_told_to_the_step_and_stands_in_no_fingerprint() -> None:
    plain, more = plan(), plan(filter={"processes": 3})
    assert (plain["base", "filter_corpus"].processes, more["base", "filter_corpus"].processes) == (None, 3)
    assert {key: call.recipe() for key, call in plain.items()} == {key: call.recipe() for key, call in more.items()}
    assert "processes" not in plain["base", "filter_corpus"].recipe()["config"]
    assert {call.processes for key, call in more.items() if key != ("base", "filter_corpus")} == {None}
    other = plan(filter={"min_words": 4})["base", "filter_corpus"]
    assert other.recipe() != plain["base", "filter_corpus"].recipe()


@pytest.mark.parametrize(
    ("resources", "processes"),
    [
        ({"filter_corpus": {"ray": "10.0.0.5:6379"}}, 1),
        ({"filter_corpus": {"ray": "10.0.0.5:6379", "cpus": 6.5}}, 6),
        ({"default": {"ray": "10.0.0.5:6379", "cpus": 4}}, 4),
        ({"default": {"ray": "10.0.0.5:6379"}, "filter_corpus": {}}, None),
        ({"filter_corpus": {"work_pool": "large"}}, None),
        ({"train_safety_reward": {"ray": "10.0.0.5:6379"}}, None),
    ],
)
def test_a_worker_of_ray_has_the_processors_that_it_was_given(resources: dict[str, Any], processes: int | None) -> None:
    assert plan(resources=resources)["base", "filter_corpus"].processes == processes
    said = plan(resources=resources, filter={"processes": 2})["base", "filter_corpus"]
    assert said.processes == 2
