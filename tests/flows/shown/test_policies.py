"""A judge of evaluations is the same in two runs where it was asked the same, and is the same model."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from data_store.records import RunRecord, RunSummary
from flows.shown.policies import Policy, _standing, is_same_judge, measure_of, place


def judged(asks: str | None, run_id: str = "r") -> RunSummary:
    record = RunRecord("judge_answers_big", "V1", "f", "1", {"config": {"asks": asks}}, 0, run_id=run_id)
    return RunSummary(record, "succeeded", "", 1, None, None, {})


def policy(**judges: RunSummary) -> Policy:
    evaluated = RunRecord("evaluate", "V1", "f", "1", {"config": {"annotator": None}}, 0)
    return Policy("V1", "V1", "evaluate", RunSummary(evaluated, "succeeded", "", 1, None, None, {}), judges)


def catalog(*versions: str) -> Any:
    def read_as(_run: str, role: str) -> tuple[Any, ...]:
        return tuple(SimpleNamespace(version_id=each) for each in versions if role == "judge")

    return cast(Any, SimpleNamespace(read_as=read_as))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((policy(big=judged("x")), catalog()), (policy(big=judged("x")), catalog()), True),
        ((policy(big=judged("x")), catalog()), (policy(big=judged("y")), catalog()), False),
        ((policy(big=judged(None)), catalog("v1")), (policy(big=judged(None)), catalog("v1")), True),
        ((policy(big=judged(None)), catalog("v1")), (policy(big=judged(None)), catalog("v2")), False),
        ((policy(big=judged("x")), catalog()), (policy(), catalog()), False),
    ],
)
def test_a_judge_is_told_by_what_it_was_asked_and_by_the_model_that_it_is(
    a: tuple[Policy, Any], b: tuple[Policy, Any], same: bool
) -> None:
    assert is_same_judge(a[0], b[0], "win_rate@big", a[1], b[1]) is same
    assert is_same_judge(a[0], b[0], "win_rate", a[1], b[1]), "of the evaluations themselves: both by nobody"


def test_a_policy_whose_judge_is_stale_is_stale() -> None:
    def cell(step: str, state: str, part: str = "V1") -> Any:
        return SimpleNamespace(part=part, step=step, state=state)

    own, stale = cell("evaluate", "fresh"), cell("judge_answers_big", "stale")
    others = [cell("judge_answers_big", "stale", "V2"), cell("judge_sampled_answers_big", "stale")]
    assert _standing(policy(), [own, *others]) is own
    assert _standing(policy(), [own, *others, stale]) is stale
    assert _standing(policy(), []) is None


def test_a_metric_of_a_judge_is_known_by_its_name_and_stands_where_its_kind_stands() -> None:
    measure = measure_of("violation@big")
    assert measure is not None
    assert measure.column == "violation %@big"
    assert measure_of("violations@big") is None
    assert measure_of("violation") is not None
    assert place("win_rate@big") < place("violation")
