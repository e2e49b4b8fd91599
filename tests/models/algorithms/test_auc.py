"""The area under the ROC curve by hand and against scipy; its interval by what defines it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from models.algorithms.auc import auc_interval, wins

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)
AREAS = st.tuples(st.floats(0, 1), st.integers(1, 400), st.integers(1, 400))


def wins_of(positives: list[float], negatives: list[float]) -> float:
    return wins(torch.tensor(positives, dtype=torch.float64), torch.tensor(negatives, dtype=torch.float64))


def test_a_positive_wins_against_each_lower_negative_and_half_against_its_equal() -> None:
    assert wins_of([3, 1], [2, 1, 0]) == 3 + 1.5
    assert wins_of([5, 6], [1, 2, 3]) == 6
    assert wins_of([1], [1]) == 0.5


@settings(max_examples=30)
@given(SCORES, SCORES)
def test_wins_are_the_statistic_of_mann_and_whitney(positives: list[float], negatives: list[float]) -> None:
    assert wins_of(positives, negatives) == mannwhitneyu(positives, negatives).statistic
    assert wins_of(positives, negatives) + wins_of(negatives, positives) == len(positives) * len(negatives)


def test_the_interval_of_one_against_one_by_hand() -> None:
    """With m = n = 1 N is 0 and V = θ (1 - θ): the bounds of Wilson's interval of 0 or 1 in 1. At 1 of 2 and 2 it is
    (1 - θ)² = z² θ (1 - θ) (1 + (1 - θ) / (2 - θ) + θ / (1 + θ)) / 4, which θ = .364475 solves."""
    z2 = 3.841458820694124
    assert auc_interval(1.0, 1, 1) == pytest.approx((1 / (1 + z2), 1.0), abs=1e-9)
    low, high = auc_interval(1.0, 2, 2)
    assert high == 1
    assert (1 - low) ** 2 == pytest.approx(
        z2 * low * (1 - low) * (1 + (1 - low) / (2 - low) + low / (1 + low)) / 4, abs=1e-9
    )


def test_the_interval_of_a_half_has_hanley_and_mcneils_error_at_its_bounds() -> None:
    low, high = auc_interval(0.5, 40, 60)
    assert low == pytest.approx(1 - high, abs=1e-9)
    first, second = low / (2 - low), 2 * low**2 / (1 + low)
    variance = (low * (1 - low) + 49 * (first - low**2) + 49 * (second - low**2)) / (40 * 60)
    assert 0.5 - low == pytest.approx(1.959963984540054 * math.sqrt(variance), abs=1e-9)


@given(AREAS)
def test_the_interval_holds_its_area_is_mirrored_and_is_never_of_no_width(of: tuple[float, int, int]) -> None:
    area, m, n = of
    low, high = auc_interval(area, m, n)
    assert 0 <= low <= area <= high <= 1
    assert low < high
    assert auc_interval(1 - area, m, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_more_items_leave_less_open() -> None:
    widths = [high - low for low, high in (auc_interval(0.9, n, n) for n in (10, 100, 1000))]
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize(("area", "m", "n"), [(1.1, 5, 5), (0.5, 0, 5), (0.5, 5, 0)])
def test_what_is_no_area_is_refused(area: float, m: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no area"):
        auc_interval(area, m, n)
