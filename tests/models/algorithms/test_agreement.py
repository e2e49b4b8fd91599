"""Gwet's AC1 and AC2."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.agreement import ac2_interval, gwet_ac2

# Krippendorff's 12 units by 4 raters with gaps, the textbook example also used by Gwet's own software.
FOUR_RATERS = ["11-1", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "-555", "--11", "-3--"]


def _ratings(rows: list[str]) -> list[list[str | None]]:
    return [[None if mark == "-" else mark for mark in row] for row in rows]


def test_ac1_of_the_published_example_is_0_77544() -> None:
    # Published: p_a 0.8181818, p_e 0.1903212, AC1 0.77544.
    assert gwet_ac2(_ratings(FOUR_RATERS), "12345", "identity") == pytest.approx(0.77544, abs=5e-6)


def test_ac2_by_hand_with_quadratic_ordinal_and_linear_weights() -> None:
    # Items aa, ab, bc by two raters, three categories: pi = (1/2, 1/3, 1/6), sum pi (1 - pi) = 11/18.
    rows = _ratings(["aa", "ab", "bc"])
    # Neighbours weigh 3/4 (quadratic): p_a = (1 + 3/4 + 3/4) / 3 = 5/6; weights add up to 3 + 4 * 3/4 = 6.
    chance = 6 / 6 * 11 / 18
    assert gwet_ac2(rows, "abc", "quadratic") == pytest.approx((5 / 6 - chance) / (1 - chance))
    # Neighbours weigh 1 - 1/3 = 2/3 (ordinal): p_a = 7/9; weights add up to 3 + 4 * 2/3 = 17/3.
    chance = 17 / 18 * 11 / 18
    assert gwet_ac2(rows, "abc", "ordinal") == pytest.approx((7 / 9 - chance) / (1 - chance))
    # Neighbours weigh 1/2 (linear): p_a = 2/3; weights add up to 3 + 4 * 1/2 = 5.
    chance = 5 / 6 * 11 / 18
    assert gwet_ac2(rows, "abc", "linear") == pytest.approx((2 / 3 - chance) / (1 - chance))


@pytest.mark.parametrize("weights", ["identity", "linear", "ordinal", "quadratic"])
def test_perfect_agreement_is_1(weights: str) -> None:
    assert gwet_ac2(_ratings(["aa", "bb", "cc"]), "abc", weights) == pytest.approx(1.0)
    assert gwet_ac2(_ratings(["aa", "aa"]), "abc", weights) == pytest.approx(1.0)


def test_two_raters_at_random_agree_by_chance() -> None:
    every_pair = [first + second for first in "abcd" for second in "abcd"]
    for weights in ("identity", "linear", "ordinal", "quadratic"):
        assert gwet_ac2(_ratings(every_pair), "abcd", weights) == pytest.approx(0.0, abs=1e-12)


def test_a_near_miss_costs_less_than_a_far_one_where_the_scale_is_ordered() -> None:
    near, far = _ratings(["aa", "dd", "ab"]), _ratings(["aa", "dd", "ad"])
    assert gwet_ac2(near, "abcd", "ordinal") > gwet_ac2(far, "abcd", "ordinal")
    assert gwet_ac2(near, "abcd", "identity") < gwet_ac2(near, "abcd", "ordinal")


def test_items_nobody_rated_and_the_order_of_raters_change_nothing() -> None:
    with_gaps = _ratings([*FOUR_RATERS, "----"])
    reordered = [row[::-1] for row in with_gaps]
    assert gwet_ac2(reordered, "12345") == gwet_ac2(_ratings(FOUR_RATERS), "12345")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="item 0 has the unknown rating 'z'"):
        gwet_ac2(_ratings(["az"]), "ab")
    with pytest.raises(ValueError, match="two raters"):
        gwet_ac2(_ratings(["a-", "-b"]), "ab")
    with pytest.raises(ValueError, match="identity, linear, ordinal, quadratic"):
        gwet_ac2(_ratings(["aa"]), "ab", "cubic")
    with pytest.raises(ValueError, match="different words"):
        gwet_ac2(_ratings(["aa"]), "aa")


def test_two_raters_who_mostly_take_the_two_ends_of_a_quadratic_scale_fall_below_minus_1() -> None:
    """By hand: (a, c) once and (a, d) three times. The weights of 4 categories are 8/9, 5/9 and 0 at distance 1, 2, 3.

    p_a = (5/9 + 0 + 0 + 0) / 4 = 5/36. pi = (1/2, 0, 1/8, 3/8), so sum pi (1 - pi) = 16/64 + 7/64 + 15/64 = 19/32.
    The weights add up to 4 + 6 * 8/9 + 4 * 5/9 = 104/9, so p_e = 104/9 / 12 * 19/32 = 247/432.
    AC2 = (60/432 - 247/432) / (185/432) = -187/185 = -1.0108.
    """
    assert gwet_ac2(_ratings(["ac", "ad", "ad", "ad"]), "abcd", "quadratic") == pytest.approx(-187 / 185)


# -P / (1 - P) for 4 categories, where P is the sum of the weights over 16: 4, 28/3, 11 and 104/9 (see above) over 16.
LEAST_OF_FOUR = {"identity": -1 / 3, "linear": -7 / 5, "ordinal": -11 / 5, "quadratic": -13 / 5}


@pytest.mark.slow
@given(
    st.integers(2, 4).flatmap(
        lambda raters: st.lists(
            st.lists(st.sampled_from("abcd"), min_size=raters, max_size=raters), min_size=1, max_size=8
        )
    ),
    st.sampled_from(["identity", "linear", "ordinal", "quadratic"]),
)
def test_ac2_is_1_for_perfect_agreement_alone_and_never_less_than_its_weights_allow(
    rows: list[list[str | None]], weights: str
) -> None:
    """Where every rater judged every item."""
    found = gwet_ac2(rows, "abcd", weights)
    perfect = all(len(set(row)) == 1 for row in rows)
    assert LEAST_OF_FOUR[weights] <= found <= 1 + 1e-12
    assert (found > 1 - 1e-9) == perfect


@pytest.mark.slow
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=2), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_ac2_does_not_depend_on_the_order_of_items_or_on_which_end_of_the_scale_comes_first(
    rows: list[list[str | None]], shuffle: random.Random
) -> None:
    shuffled = rows.copy()
    shuffle.shuffle(shuffled)
    assert gwet_ac2(shuffled, "abc") == pytest.approx(gwet_ac2(rows, "abc"))
    assert gwet_ac2(rows, "cba") == pytest.approx(gwet_ac2(rows, "abc"))


def test_the_interval_of_ac2_holds_it_narrows_with_items_and_is_the_same_each_time() -> None:
    rows = _ratings(["aa", "aa", "ab", "bb", "bb", "ba", "aa", "bb"])
    low, high = ac2_interval(rows, "ab", "identity") or (2.0, -2.0)
    assert low < gwet_ac2(rows, "ab", "identity") < high <= 1
    assert ac2_interval(rows, "ab", "identity") == (low, high)
    more = ac2_interval(rows * 16, "ab", "identity") or (2.0, -2.0)
    assert more[1] - more[0] == pytest.approx((high - low) / 4, rel=0.25), "a quarter with sixteen times the items"


def test_the_interval_of_ac2_by_hand_where_items_are_alike_or_too_few() -> None:
    assert ac2_interval(_ratings(["aa"] * 5), "ab", "identity") == pytest.approx((1, 1)), "every sample is the same"
    assert ac2_interval(_ratings(["ab", "a-", "b-"]), "ab", "identity") is None, "one item was rated twice"
    # Items aa and ab: samples aa aa, aa ab, ab ab have probability 1/4, 1/2, 1/4, so that the percentiles are the ends.
    # aa aa: p_a = 1, pi = (1, 0), p_e = 0, AC1 = 1. ab ab: p_a = 0, pi = (1/2, 1/2), p_e = 1/2, AC1 = -1.
    assert ac2_interval(_ratings(["aa", "ab"]), "ab", "identity") == pytest.approx((-1, 1))
