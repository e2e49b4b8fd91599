"""What a figure says beside its value."""

import pytest

from data_store.estimate import Estimate
from tasks.estimates import annotators_of, mean_of, rate_of, win_rate_of


@pytest.mark.conformance("a figure without its interval", equation="tasks.estimates:rate_of")
def test_a_rate_says_of_how_many_it_is_and_one_of_one_is_not_certain() -> None:
    found = rate_of([True], "anna")
    assert (found.value, found.n, found.judge) == (1.0, 1, "anna")
    assert (found.low, found.high) == pytest.approx((0.2065, 1.0), abs=1e-4)
    assert rate_of([1.0, 0.5, 0.0, 0.0]).value == 0.375


@pytest.mark.conformance("a figure without its interval", equation="tasks.estimates:win_rate_of")
def test_ties_narrow_a_win_rate_and_where_all_are_alike_it_is_not_certain() -> None:
    ties = win_rate_of([0.5] * 96 + [1.0] * 4)
    assert ties.value == 0.52
    assert ties.low is not None
    assert ties.high is not None
    assert 0.5 <= ties.low < 0.52 < ties.high < 0.55, "a rate of 52 in 100 would be known to .10"
    decided = win_rate_of([1.0] * 52 + [0.0] * 48)
    assert (decided.low, decided.high) == pytest.approx((0.423, 0.615), abs=1e-3), "without ties it is a rate"
    alike = win_rate_of([0.5] * 10)
    assert alike.low is not None
    assert alike.low < 0.3, "ten ties are no proof of an eleventh"


def test_a_mean_of_one_value_has_no_interval() -> None:
    assert mean_of([2.5]) == Estimate(2.5, 1)
    found = mean_of([0.0, 2.0])
    assert (found.value, found.low, found.high) == (1.0, 0.0, 2.0)


def test_those_who_judged_are_named_in_few_words() -> None:
    rows = [{"annotator": name} for name in ("bo", "anna", "bo")]
    assert annotators_of(rows) == "anna, bo"
    assert annotators_of([{"annotator": str(n)} for n in range(5)]) == "0, 1, 2 and 2 more"


def test_an_estimate_is_json_whatever_came_with_another_store() -> None:
    odd = Estimate(float("nan"), 3, float("-inf"), 1.0, "x").as_json()
    assert odd == {"value": None, "n": 3, "low": None, "high": 1.0, "judge": "x"}
