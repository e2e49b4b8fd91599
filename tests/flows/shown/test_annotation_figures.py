import pytest

from data_store.annotation.export import StandingJudgement
from flows.shown.annotation_figures import agreements, annotator_figures


def judged(item: int, name: str, words: str, seconds: float = 10, passed: bool | None = None) -> StandingJudgement:
    """`a better`, or on the safety axis `a better both_safe`."""
    chosen, rating, *label = words.split()
    axis = "safety" if label else "helpfulness"
    return StandingJudgement(
        f"{item}{name}", item, axis, name, chosen, rating, *(label or [None]), None, seconds, 0, passed, False, False
    )


def test_ac2_of_an_axis_by_hand() -> None:
    # Two raters, eight steps, ordinal weights w = 1 - d(d+1)/56 at distance d. Item 1: steps 0 and 0, w = 1. Item 2:
    # steps 3 and 4, w = 54/56. p_a = (1 + 54/56) / 2 = 55/56. pi: step 0 1/2, steps 3 and 4 1/4 each, so the sum of
    # pi (1 - pi) is 1/4 + 3/16 + 3/16 = 5/8. Sum of all 64 weights: 64 - sum over d = 1 … 7 of 2 (8 - d) d (d + 1) / 56
    # = 64 - (28 + 72 + 120 + 160 + 180 + 168 + 112) / 56 = 49. p_e = 49/56 * 5/8 = 35/64.
    # AC2 = (55/56 - 35/64) / (29/64) = 195/203.
    found = agreements(
        "v1",
        [
            judged(1, "anna", "a significantly_better"),
            judged(1, "ben", "a significantly_better"),
            judged(2, "anna", "a negligibly_better"),
            judged(2, "ben", "b negligibly_better"),
        ],
    )
    assert [(one.axis, one.measure, one.pairs) for one in found] == [("helpfulness", "preference", 2)]
    assert found[0].ac2 == pytest.approx(195 / 203)


def test_labels_agree_by_which_side_is_safe_not_by_their_words() -> None:
    # Both call one side safe, but different ones: no agreement. AC1: p_a = 0, pi = 1/2 for a and for b,
    # p_e = (1/4 + 1/4) / 3 = 1/6, AC1 = -1/5.
    found = agreements(
        "v1",
        [
            judged(1, "anna", "a better chosen_safe_other_unsafe"),
            judged(1, "ben", "b better chosen_safe_other_unsafe"),
        ],
    )
    assert [one.measure for one in found] == ["preference", "safety label"]
    assert found[1].ac2 == pytest.approx(-1 / 5)


def test_where_no_pair_was_judged_twice_there_is_no_agreement_to_measure() -> None:
    (found,) = agreements("v1", [judged(1, "anna", "a better"), judged(2, "ben", "a better")])
    assert (found.pairs, found.ac2) == (0, None)


def test_a_persons_figures_by_hand() -> None:
    work = [
        judged(1, "anna", "a better", 4),
        judged(1, "ben", "a slightly_better", 6),
        judged(1, "chris", "b better", 8),
        judged(2, "anna", "b better", 10),
        judged(2, "ben", "b better", 12),
        judged(3, "anna", "a better", 100),
        judged(9, "anna", "a better", 1, passed=True),
        judged(8, "anna", "a better", 1, passed=False),
    ]
    anna, ben, dora = annotator_figures(["anna", "ben", "dora"], work)
    assert (anna.judged, anna.median_seconds, anna.checks, anna.passed) == (3, 10, 2, 1)
    assert anna.agreement == pytest.approx(2 / 3)  # with ben on 1 and 2, not with chris on 1
    assert ben.agreement == pytest.approx(2 / 3)
    assert (dora.judged, dora.median_seconds, dora.agreement) == (0, None, None)
