"""Choosing the pairs that are worth a judgement."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.pair_choice import Beliefs, calibrated_scale, choose_pairs, disagreement, sigmoid

SHARES = {"uncertain_share": 0.0, "axes_share": 0.0, "iterations_share": 0.0, "unsure_below": 0.75}


def belief(name: str, own: float, other: float = 0.5, earlier: float | None = None, paper: bool = False) -> Beliefs:
    return Beliefs(name, own, other, earlier, paper)


@pytest.mark.parametrize("size", [0.1, 1.0, 4.0])
def test_the_scale_makes_the_probability_the_smoothed_share_of_right_pairs(size: float) -> None:
    """Six of eight right: Platt's target is 9/10, and (6 · 0.9 + 2 · 0.1) / 8 = 0.7, so b · size = log(0.7 / 0.3)."""
    scale = calibrated_scale([size] * 6 + [-size] * 2)
    assert scale * size == pytest.approx(math.log(0.7 / 0.3))
    assert sigmoid(scale * size) == pytest.approx(0.7)


def test_a_model_that_is_right_every_time_is_not_certain() -> None:
    """Four of four: the target is 5/6, the odds are 5."""
    assert calibrated_scale([2.0] * 4) == pytest.approx(math.log(5) / 2)


def test_a_model_that_is_right_by_chance_is_never_sure_and_none_that_was_not_tested_is_changed() -> None:
    assert calibrated_scale([1.0, -1.0] * 10) == pytest.approx(1 / 64)
    assert calibrated_scale([-1.0] * 10) == pytest.approx(1 / 64)
    assert calibrated_scale([]) == 1.0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_difference_that_is_no_number_is_refused(broken: float) -> None:
    with pytest.raises(ValueError, match="a difference of scores is"):
        calibrated_scale([1.0, broken])


def test_the_sigmoid_of_large_numbers_does_not_overflow() -> None:
    assert (sigmoid(1e4), sigmoid(0.0), sigmoid(-1e4)) == (1.0, 0.5, 0.0)


def test_models_disagree_where_they_prefer_different_responses_and_the_more_the_surer_they_are() -> None:
    assert disagreement(1.0, 0.0) == 1.0
    assert disagreement(0.9, 0.2) == pytest.approx(0.8 * 0.6)
    assert disagreement(0.9, 0.8) < 0
    assert disagreement(0.5, 0.1) == 0.0


def test_half_of_the_pairs_are_the_first_of_the_papers_and_half_those_of_which_the_model_is_least_sure() -> None:
    pairs = [
        belief("p1", 0.50, paper=True),  # the papers' share is taken first, whatever the model thinks
        belief("p2", 0.99, paper=True),
        belief("p3", 0.90, paper=True),
        belief("p4", 0.55, paper=True),
        belief("m1", 0.58),
        belief("m2", 0.44),  # 0.56 for b
        belief("m3", 0.70),
    ]
    kept = choose_pairs(pairs, **SHARES | {"uncertain_share": 0.5})
    assert kept == {"p1": "as_paper", "p2": "as_paper", "p4": "unsure", "m2": "unsure"}


def test_where_too_few_pairs_are_unsure_the_papers_take_their_places() -> None:
    pairs = [belief(f"p{n}", 0.95, paper=True) for n in range(4)] + [belief("m1", 0.6), belief("m2", 0.25)]
    kept = choose_pairs(pairs, **SHARES | {"uncertain_share": 1.0})
    assert kept == {"m1": "unsure", "p0": "as_paper", "p1": "as_paper", "p2": "as_paper"}, "0.75 for b is not below"


def test_disagreement_between_axes_and_between_iterations_have_shares_of_their_own() -> None:
    pairs = [
        *(belief(f"p{n}", 0.9, other=0.9, earlier=0.9, paper=True) for n in range(4)),
        belief("a1", 0.8, other=0.4, earlier=0.9),  # 0.6 · 0.2
        belief("a2", 0.2, other=0.9, earlier=0.1),  # 0.6 · 0.8
        belief("i1", 0.9, other=0.9, earlier=0.3),  # 0.8 · 0.4
        belief("i2", 0.6, other=0.6, earlier=0.0),  # 0.2 · 1
    ]
    kept = choose_pairs(pairs, **SHARES | {"axes_share": 0.25, "iterations_share": 0.25})
    assert kept == {"p0": "as_paper", "p1": "as_paper", "a2": "axes_disagree", "i1": "iterations_disagree"}
    without = [Beliefs(pair.pair_id, pair.own, pair.other, None, pair.as_paper) for pair in pairs]
    assert set(choose_pairs(without, **SHARES | {"iterations_share": 1.0}).values()) == {"as_paper"}


def test_equal_pairs_are_decided_by_the_smaller_id_in_whatever_order_they_come() -> None:
    pairs = [belief("p", 0.9, paper=True), belief("z", 0.5), belief("a", 0.5)]
    for order in (pairs, pairs[::-1]):
        assert choose_pairs(order, **SHARES | {"uncertain_share": 1.0}) == {"a": "unsure"}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 1), st.booleans()), max_size=30),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_as_many_are_kept_as_the_papers_way_would_show(
    found: list[tuple[float, float, float | None, bool]], parts: tuple[float, float, float]
) -> None:
    pairs = [Beliefs(str(number), *each) for number, each in enumerate(found)]
    total = sum(parts) + 0.1
    shares = dict(zip(("uncertain_share", "axes_share", "iterations_share"), (p / total for p in parts), strict=True))
    kept = choose_pairs(pairs, unsure_below=0.8, **shares)
    assert len(kept) == sum(pair.as_paper for pair in pairs)
    assert {pair for pair, why in kept.items() if why == "as_paper"} <= {p.pair_id for p in pairs if p.as_paper}


def test_a_pair_given_twice_and_shares_of_more_than_the_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        choose_pairs([belief("p", 0.5), belief("p", 0.6)], **SHARES)
    with pytest.raises(ValueError, match=r"add up to 1\.5"):
        choose_pairs([belief("p", 0.5)], **SHARES | {"uncertain_share": 1.0, "axes_share": 0.5})
