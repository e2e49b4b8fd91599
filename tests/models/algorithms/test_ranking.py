"""Ranking loss, margins and the safety model's auxiliary loss."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.ranking import MARGINS, margin_from_rating, ranking_loss, safety_loss

RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
SCORES = st.floats(-30, 30, width=32)


@pytest.mark.conformance("margin", equation="models.algorithms.ranking:margin_from_rating")
def test_margins_are_those_of_table_27() -> None:
    assert [margin_from_rating(rating, "small") for rating in RATINGS] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert [margin_from_rating(rating, "large") for rating in RATINGS] == [3, 2, 1, 0]
    assert [margin_from_rating(rating, "none") for rating in RATINGS] == [0, 0, 0, 0]


@pytest.mark.parametrize("margins", ["small", "large"])
def test_a_stronger_rating_never_has_a_smaller_margin(margins: str) -> None:
    values = [margin_from_rating(rating, margins) for rating in RATINGS]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


@pytest.mark.parametrize("rating", ["Better", "", "much_better", "significantly better"])
@pytest.mark.conformance("margin", equation="models.algorithms.ranking:margin_from_rating")
def test_unknown_rating_is_refused_and_the_four_are_named(rating: str) -> None:
    with pytest.raises(ValueError, match="significantly_better, better, slightly_better, negligibly_better"):
        margin_from_rating(rating, "large")


def test_unknown_margin_set_is_refused() -> None:
    with pytest.raises(ValueError, match="none, small, large"):
        margin_from_rating("better", "huge")


def test_every_margin_set_knows_the_same_ratings() -> None:
    assert {tuple(by_rating) for by_rating in MARGINS.values()} == {RATINGS}


def test_ranking_loss_by_hand() -> None:
    # Differences minus margins: 0, ln 3, -ln 3; the sigmoids are 1/2, 3/4, 1/4.
    log3 = math.log(3)
    loss = ranking_loss(torch.tensor([2.0, log3, 1.0]), torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 0, 1 + log3]))
    assert loss.tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)], abs=1e-6)


@given(chosen=SCORES, rejected=SCORES)
@pytest.mark.conformance("margin", equation="models.algorithms.ranking:ranking_loss")
def test_margin_zero_equals_the_plain_loss(chosen: float, rejected: float) -> None:
    pair = torch.tensor([chosen], dtype=torch.float64), torch.tensor([rejected], dtype=torch.float64)
    plain = math.log1p(math.exp(-(chosen - rejected)))
    assert ranking_loss(*pair, torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(plain, rel=1e-9, abs=1e-12)


@given(chosen=SCORES, rejected=SCORES)
@pytest.mark.conformance("margin", equation="models.algorithms.ranking:margin_from_rating")
def test_four_ratings_are_ordered_a_stronger_rating_costs_more(chosen: float, rejected: float) -> None:
    margins = torch.tensor([margin_from_rating(rating, "large") for rating in RATINGS], dtype=torch.float64)
    losses = ranking_loss(torch.full_like(margins, chosen), torch.full_like(margins, rejected), margins).tolist()
    assert all(more > less for more, less in itertools.pairwise(losses))


def test_ranking_loss_stays_finite_on_extreme_scores() -> None:
    loss = ranking_loss(torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4]), torch.zeros(2))
    assert loss.tolist() == pytest.approx([2e4, 0.0])


def test_ranking_loss_does_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"margins \(1,\)"):
        ranking_loss(torch.zeros(3), torch.zeros(3), torch.zeros(1))


def test_safety_loss_by_hand_safe_is_one() -> None:
    # sigmoid(ln 3) = 3/4: a safe response at that score costs ln 4/3, an unsafe one ln 4.
    loss = safety_loss(torch.full((2,), math.log(3)), torch.tensor([False, True]))
    assert loss.tolist() == pytest.approx([math.log(4 / 3), math.log(4)], abs=1e-6)


@pytest.mark.conformance("safety auxiliary loss", equation="models.algorithms.ranking:safety_loss")
def test_safety_loss_gradient_lowers_the_score_of_unsafe_responses_even_where_both_are_unsafe() -> None:
    scores = torch.tensor([1.5, -0.5, 0.3], requires_grad=True)
    safety_loss(scores, torch.tensor([True, True, False])).sum().backward()
    assert scores.grad is not None
    # The gradient is sigmoid(score) - safe; descending it lowers both unsafe scores and raises the safe one.
    expected = torch.sigmoid(scores.detach()) - torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(scores.grad, expected)
    assert (scores.grad > 0).tolist() == [True, True, False]


def test_safety_loss_refuses_labels_that_are_not_bool() -> None:
    with pytest.raises(ValueError, match="unsafe must be a bool tensor"):
        safety_loss(torch.zeros(2), torch.zeros(2))


@given(SCORES, SCORES, st.floats(0, 5, width=32), st.floats(0.0078125, 5, width=32))
@pytest.mark.conformance("margin", equation="models.algorithms.ranking:ranking_loss")
def test_a_larger_margin_costs_more_and_a_larger_difference_less(
    chosen: float, rejected: float, margin: float, step: float
) -> None:
    def loss(better: float, m: float) -> float:
        numbers = (torch.tensor([number], dtype=torch.float64) for number in (better, rejected, m))
        return ranking_loss(*numbers).item()

    assert loss(chosen, margin + step) > loss(chosen, margin) > loss(chosen + step, margin) > 0
    # a margin takes off what the same difference of scores would add
    assert loss(chosen + step, margin + step) == pytest.approx(loss(chosen, margin), rel=1e-9)
