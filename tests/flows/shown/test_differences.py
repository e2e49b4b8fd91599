"""Pairs tell more than two groups do; the other way round a difference has the other sign."""

import numpy as np
import pytest

from flows.shown.differences import difference
from models.algorithms.intervals import bootstrap_interval


@pytest.mark.conformance(
    "answers to the same prompts compared as if to others", equation="flows.shown.differences:difference"
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
    apart = bootstrap_interval(list(hard + 0.1))
    assert apart[1] - apart[0] > 50 * (found.high - found.low)


def test_the_other_way_round_a_difference_has_the_other_sign() -> None:
    pairs = [("p", 0.0, 1.0), ("q", 1.0, 1.0), ("r", 0.0, 0.0), ("s", 0.0, 1.0)]
    there, back = difference(pairs), difference([(key, b, a) for key, a, b in pairs])
    assert there is not None
    assert back is not None
    assert (there.value, there.changed, there.n) == (0.5, 2, 4)
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)


def test_fewer_than_two_pairs_give_no_difference_and_pairs_that_are_alike_show_none() -> None:
    assert difference([]) is None
    assert difference([("p", 0.0, 1.0)]) is None, "one pair that changed says nothing of the next"
    alike = difference([("p", 1.0, 1.0), ("q", 0.0, 0.0)])
    assert alike is not None
    assert (alike.value, alike.changed, alike.is_shown) == (0.0, 0, False)
