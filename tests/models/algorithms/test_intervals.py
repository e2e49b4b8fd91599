"""Intervals by hand."""

import pytest

from models.algorithms.intervals import mean_interval, wilson


def test_wilson_of_five_in_ten_by_hand() -> None:
    # z² = 3.8415: (0.5 + 0.19207) / 1.38415 = 0.5; half = 1.96 / 1.38415 * sqrt(0.025 + 0.0096037) = 0.26341
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_wilson_of_none_and_of_all_has_width_and_stays_inside() -> None:
    # all of n: from n / (n + z²) on
    assert wilson(10, 10) == pytest.approx((10 / 13.8415, 1.0), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)


def test_a_mean_of_ones_and_zeros_is_a_share_and_of_others_has_standard_errors() -> None:
    assert mean_interval([1.0] * 5 + [0.0] * 5) == wilson(5, 10)
    # 0.2 and 0.6: mean 0.4, deviation 0.2828, standard error 0.2: 0.4 ± 0.392
    assert mean_interval([0.2, 0.6]) == pytest.approx((0.008, 0.792), abs=1e-3)
    assert mean_interval([0.5]) == wilson(0.5, 1)
