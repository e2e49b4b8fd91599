"""Wilson's interval and the bootstrap, by hand, by what they must hold to, and against statsmodels and scipy."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from models.algorithms import intervals
from models.algorithms.intervals import (
    bootstrap_interval,
    interval_of_mean,
    jackknife_interval,
    wilson_interval,
)


@pytest.mark.conformance("a figure without its interval", equation="models.algorithms.intervals:wilson_interval")
def test_wilsons_interval_of_one_in_two_and_of_one_in_one_by_hand() -> None:
    # z² = 3.841459: at 1 of 2 the middle is 1/2 and the half width z sqrt(1/8 + z²/16) / (1 + z²/2) = .405469
    assert wilson_interval(1, 2) == pytest.approx((0.094531, 0.905469), abs=1e-6)
    # at 1 of 1 it is from 1 / (1 + z²) to 1
    assert wilson_interval(1, 1) == pytest.approx((1 / 4.841459, 1.0), abs=1e-6)
    assert wilson_interval(0, 1) == pytest.approx((0.0, 1 - 1 / 4.841459), abs=1e-6)


@pytest.mark.conformance("a figure without its interval", equation="models.algorithms.intervals:wilson_interval")
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 100), (7, 30), (50, 100), (999, 1000), (3, 100000)])
def test_wilsons_interval_is_that_of_statsmodels(successes: int, n: int) -> None:
    theirs = proportion_confint(successes, n, alpha=0.05, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx(theirs, abs=1e-12)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_rate_holds_it_and_is_mirrored_by_that_of_its_complement(of: tuple[int, int]) -> None:
    successes, n = of
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 3), (math.nan, 3)])
def test_what_is_no_rate_is_refused(successes: float, n: int) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        wilson_interval(successes, n)


@pytest.mark.conformance("a figure without its interval", equation="models.algorithms.intervals:bootstrap_interval")
def test_the_bootstrap_is_scipys_percentile_bootstrap_of_the_mean() -> None:
    values = np.sort(np.random.default_rng(3).gamma(2.0, 1.0, 80))
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=5).confidence_interval
    ours = bootstrap_interval(values.tolist())
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.06 * width), "2,000 samples tell so much"


def test_two_values_are_drawn_alike_half_of_the_time() -> None:
    """Of {0, 1} the mean of two draws is 0 and 1 in a quarter of the samples each: both ends are reached."""
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_interval([2.5, 2.5, 2.5]) == (2.5, 2.5)


def test_paired_answers_of_equal_difference_leave_nothing_open_though_each_side_does() -> None:
    ours = [random.Random(n).random() for n in range(50)]
    theirs = [value - 0.25 for value in ours]
    low, high = bootstrap_interval([a - b for a, b in zip(ours, theirs, strict=True)])
    assert (low, high) == pytest.approx((0.25, 0.25))
    low, high = bootstrap_interval(ours)
    assert high - low > 0.1


def test_an_interval_is_the_same_each_time_and_however_much_memory_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [random.Random(n).random() for n in range(40)]
    before = bootstrap_interval(values)
    assert before == bootstrap_interval(values)
    assert before != bootstrap_interval(values, seed=1)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 1)  # a sample at a time
    assert bootstrap_interval(values) == before


def test_one_value_has_no_spread() -> None:
    with pytest.raises(ValueError, match="1 values have no spread"):
        bootstrap_interval([1.0])


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    """300 samples of 60 from a known distribution: 95 % of the intervals should hold its mean, 1."""
    rng = np.random.default_rng(1)
    held = sum(low <= 1.0 <= high for low, high in (bootstrap_interval(rng.exponential(1.0, 60)) for _ in range(300)))
    assert 0.88 <= held / 300 <= 0.98


def test_the_interval_of_a_mean_of_figures_by_hand() -> None:
    # below: sqrt(.3² + .4²) / 2 = .25; above: sqrt(.05² + .12²) / 2 = .065
    found = interval_of_mean([0.5, 0.7], [(0.2, 0.55), (0.3, 0.82)])
    assert found == pytest.approx((0.6 - 0.25, 0.6 + 0.065))
    assert interval_of_mean([0.5], [(0.2, 0.6)]) == pytest.approx((0.2, 0.6)), "one figure keeps its own"
    with pytest.raises(ValueError, match="no figure"):
        interval_of_mean([], [])


def test_the_interval_of_a_mean_of_figures_covers_what_it_should() -> None:
    """Two benchmarks with rates .3 and .8 of 40 and 80 items, drawn 2,000 times: the mean .55 lies inside in 95 %."""
    rng, covered = random.Random(5), 0
    for _ in range(2000):
        drawn = [(sum(rng.random() < p for _ in range(n)), n) for p, n in ((0.3, 40), (0.8, 80))]
        rates = [hits / n for hits, n in drawn]
        low, high = interval_of_mean(rates, [wilson_interval(*each) for each in drawn])
        covered += low <= 0.55 <= high
    assert 0.935 <= covered / 2000 <= 0.965


@pytest.mark.conformance("a figure without its interval", equation="models.algorithms.intervals:jackknife_interval")
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_the_jackknife_of_a_mean_is_its_standard_error(values: list[float]) -> None:
    n, mean = len(values), math.fsum(values) / len(values)
    without = [(math.fsum(values) - each) / (n - 1) for each in values]
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    assert jackknife_interval(mean, without) == pytest.approx(
        (mean - 1.959964 * error, mean + 1.959964 * error), abs=1e-5
    )


def test_the_jackknife_of_one_value_is_refused() -> None:
    with pytest.raises(ValueError, match="1 values have no spread"):
        jackknife_interval(0.5, [0.5])
