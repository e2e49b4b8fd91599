"""Intervals by hand, by their identities, and that pairs tell more than two groups do."""

import math

import numpy as np
import pytest

from flows.shown.intervals import bootstrap, difference, of_mean, wilson


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        (0.5, 100, 0.403832, 0.596168),  # (.5 + 3.841459 / 200 ± 1.959964 √(.0025 + .000096036)) / 1.038415
        (0.0, 10, 0.0, 0.277533),  # 3.841459 / (10 + 3.841459)
        (1.0, 10, 0.722467, 1.0),
        (0.1, 50, 0.043476, 0.213602),
    ],
)
def test_wilsons_interval_is_the_one_by_hand(share: float, n: int, low: float, high: float) -> None:
    assert wilson(share, n) == pytest.approx((low, high), abs=2e-6)


def test_wilsons_ends_are_where_the_score_test_reaches_its_bound() -> None:
    for share, n in ((0.3, 17), (0.02, 400), (0.77, 1)):
        for end in wilson(share, n):
            assert abs(share - end) / math.sqrt(end * (1 - end) / n) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (-0.1, 5), (1.1, 5)])
def test_a_share_of_nothing_is_refused(share: float, n: int) -> None:
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        wilson(share, n)


def test_a_mean_of_zeros_and_ones_has_wilsons_interval_and_one_value_said_again_none() -> None:
    assert of_mean([1.0, 0.0, 0.0, 0.0]) == wilson(0.25, 4)
    assert of_mean([0.5, 0.5, 0.5]) is None
    assert of_mean([0.0, 0.0]) == wilson(0, 2), "none of two is not none at all"
    with pytest.raises(ValueError, match="give at least one"):
        of_mean([])


def test_the_bootstrap_of_many_values_is_nearly_the_normal_interval_and_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 2500)
    low, high = bootstrap(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert bootstrap(list(values)) == (low, high)


def test_two_values_are_resampled_as_a_coin_is_thrown() -> None:
    assert bootstrap([0.0, 1.0]) == (0.0, 1.0), "both the same in a quarter of the samples each"


@pytest.mark.conformance(
    "answers to the same prompts compared as if to others", equation="flows.shown.intervals:difference"
)
def test_a_difference_is_of_pairs_so_what_is_hard_for_both_does_not_blur_it() -> None:
    hard = np.random.default_rng(2).normal(0.0, 5.0, 200)
    pairs = [(str(i), value, value + 0.1 + 0.01 * (i % 3)) for i, value in enumerate(hard)]
    found = difference(pairs)
    assert found is not None
    assert found.value == pytest.approx(0.1 + 0.01 * np.mean([i % 3 for i in range(200)]))
    assert 0.1 < found.low < found.value < found.high < 0.12
    assert found.is_shown
    assert (found.n, found.changed) == (200, 200)
    apart = bootstrap(hard + 0.1)
    assert apart[1] - apart[0] > 50 * (found.high - found.low)


def test_the_other_way_round_a_difference_has_the_other_sign() -> None:
    pairs = [("p", 0.0, 1.0), ("q", 1.0, 1.0), ("r", 0.0, 0.0), ("s", 0.0, 1.0)]
    there, back = difference(pairs), difference([(key, b, a) for key, a, b in pairs])
    assert there is not None
    assert back is not None
    assert (there.value, there.changed, there.n) == (0.5, 2, 4)
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)


def test_no_pair_gives_no_difference_and_pairs_that_are_alike_show_none() -> None:
    assert difference([]) is None
    alike = difference([("p", 1.0, 1.0), ("q", 0.0, 0.0)])
    assert alike is not None
    assert (alike.value, alike.changed, alike.is_shown) == (0.0, 0, False)
