"""Calibration by hand, by what it must hold to, and against a computation that shares nothing with it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.intervals import wilson_interval
from models.algorithms.reliability import (
    calibration_interval,
    error_of_chance,
    expected_calibration_error,
    preferred,
    reliability,
)


def test_the_preferred_answer_has_the_greater_probability_whoever_chose_it() -> None:
    # sigmoid(ln 3) = 3/4
    assert preferred(math.log(3)) == (pytest.approx(0.75), 1.0)
    assert preferred(-math.log(3)) == (pytest.approx(0.75), 0.0)
    assert preferred(0.0) == (0.5, 0.5)
    assert preferred(800.0)[0] == preferred(-800.0)[0] == 1.0, "no overflow"


@pytest.mark.conformance(
    "a reward model that is surer than it is right",
    equation="models.algorithms.reliability:expected_calibration_error",
)
def test_the_error_by_hand() -> None:
    """Two bins, [½, ¾) and [¾, 1]: .6 and .7 of which one is right, and .75, .8, .95, 1 of which three are. The means
    are .65 and .875, the gaps .15 and .125, the error 2/6 · .15 + 4/6 · .125."""
    predicted, hits = [0.6, 0.8, 0.75, 0.7, 0.95, 1.0], [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    low, high = reliability(predicted, hits, 2)
    assert (low.n, low.predicted, low.observed) == (2, pytest.approx(0.65), 0.5)
    assert (high.n, high.predicted, high.observed) == (4, pytest.approx(0.875), 0.75)
    assert (low.low, low.high, high.low, high.high) == (0.5, 0.75, 0.75, 1.0)
    assert expected_calibration_error([low, high]) == pytest.approx(0.4 / 3)
    assert (low.interval, low.gap) == (wilson_interval(1, 2), pytest.approx(0.15))


pairs = st.lists(st.tuples(st.floats(-6, 6), st.booleans()), min_size=1, max_size=60)


@pytest.mark.conformance(
    "a reward model that is surer than it is right",
    equation="models.algorithms.reliability:expected_calibration_error",
)
@given(pairs, st.integers(2, 15))
def test_the_error_is_that_of_a_histogram_of_numpy(of: list[tuple[float, bool]], bins: int) -> None:
    """The definition as sums over a histogram of the weighted differences: |Σ hits - Σ probabilities| of each bin."""
    found = [preferred(difference) for difference, _ in of]
    predicted, hits = np.array([p for p, _ in found]), np.array([hit for _, hit in found])
    edges = np.linspace(0.5, 1, bins + 1)
    sums = [np.histogram(predicted, edges, weights=each)[0] for each in (hits, predicted)]
    filled = reliability(predicted.tolist(), hits.tolist(), bins)
    # a probability within rounding of an edge may fall on either side
    if all(abs(p - edge) > 1e-9 for p in predicted for edge in edges[1:-1]):
        assert [each.n for each in filled] == [n for n in np.histogram(predicted, edges)[0] if n]
        assert expected_calibration_error(filled) == pytest.approx(np.abs(sums[0] - sums[1]).sum() / len(of))


@given(pairs)
def test_who_stood_first_and_which_order_the_pairs_have_change_nothing(of: list[tuple[float, bool]]) -> None:
    found = [preferred(difference) for difference, _ in of]
    again = [preferred(difference) for difference, _ in reversed(of)]
    errors = [expected_calibration_error(reliability(*zip(*each, strict=True), 10)) for each in (found, again)]
    assert errors[0] == pytest.approx(errors[1])
    assert 0 <= errors[0] <= 1


@pytest.mark.slow
@pytest.mark.conformance(
    "a reward model that is surer than it is right", equation="models.algorithms.reliability:calibration_interval"
)
def test_the_interval_holds_the_true_error_of_a_sure_and_of_a_vain_model_and_tells_them_apart() -> None:
    """Vain: right in .5 + .6 (p - .5) where it says p, so off by .1 on the whole, of which 200 pairs show .125."""
    rng = np.random.default_rng(5)
    for slope, true, least_zeros, most_zeros in ((1.0, 0.0, 90, 100), (0.6, 0.1, 0, 40)):
        holds = zeros = 0
        for _ in range(100):
            predicted = 0.5 + 0.5 * rng.random(200)
            hits = (rng.random(200) < 0.5 + slope * (predicted - 0.5)).astype(float)
            filled = reliability(predicted.tolist(), hits.tolist(), 10)
            low, high = calibration_interval(predicted.tolist(), filled, 10)
            assert low <= expected_calibration_error(filled) <= high
            holds += low <= true <= high
            zeros += low == 0
        assert holds >= 90, "95 of 100 are meant, at least"
        assert least_zeros <= zeros <= most_zeros


def test_what_chance_makes_falls_with_the_number_of_pairs() -> None:
    """One pair at .8 is off by .2 where it is right, by .8 where it is not: that happens more than 5 times in 100."""
    assert error_of_chance([0.8], 5) == pytest.approx(0.8)
    few, many = (error_of_chance([0.8] * n, 5) for n in (25, 2500))
    assert few == pytest.approx(1.96 * math.sqrt(0.16 / 25), rel=0.15), "of a normal distribution"
    assert many == pytest.approx(1.96 * math.sqrt(0.16 / 2500), rel=0.1)


@pytest.mark.parametrize("predicted", [0.49, 1.01, math.nan])
def test_what_is_no_probability_of_the_preferred_answer_is_refused(predicted: float) -> None:
    with pytest.raises(ValueError, match="no probability of the preferred answer"):
        reliability([predicted], [1.0], 10)
    with pytest.raises(ValueError, match="0 bins hold nothing"):
        reliability([0.6], [1.0], 0)
