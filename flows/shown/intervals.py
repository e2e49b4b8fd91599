"""How sure a figure is: intervals at 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_Z = 1.959963984540054  # of the normal distribution, two-sided, at 95 %
_RESAMPLES = 2000
_AT_ONCE = 2_000_000  # numbers that are drawn at once

Interval = tuple[float, float]


def wilson(share: float, n: int) -> Interval:
    """The score interval of a share of n (Wilson, JASA 22, 1927); it stays within 0 and 1. Raises ValueError for n
    below 1 or a share outside of 0 and 1."""
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"a share of {share} of {n}: give a share from 0 to 1 of at least 1")
    square = _Z**2 / n
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return middle - half if share > 0 else 0.0, middle + half if share < 1 else 1.0  # the ends that rounding misses


def of_mean(values: Sequence[float]) -> Interval | None:
    """The interval of a mean: Wilson's where the values are all 0 or 1, else the bootstrap's; None where all are the
    same, of which samples say nothing. Raises ValueError where there is no value."""
    found = np.asarray(values, np.float64)
    if len(found) and bool(np.isin(found, (0.0, 1.0)).all()):
        return wilson(float(found.mean()), len(found))
    low, high = bootstrap(found)
    return None if found.min() == found.max() else (low, high)


def bootstrap(values: Sequence[float] | npt.NDArray[np.float64]) -> Interval:
    """The percentile bootstrap of a mean (Efron, 1979): the 2.5th and 97.5th percentile of the means of 2,000 samples
    with replacement, the same ones each time. Of the differences of pairs it is the paired bootstrap. Raises ValueError
    where there is no value."""
    found = np.asarray(values, np.float64)
    if not len(found):
        raise ValueError("no values, so no mean: give at least one")
    batch = max(1, min(_RESAMPLES, _AT_ONCE // len(found)))
    if batch == _RESAMPLES:
        means = found[_drawn(len(found))].mean(axis=1)
    else:
        rng = np.random.default_rng(0)
        sizes = [min(batch, _RESAMPLES - start) for start in range(0, _RESAMPLES, batch)]
        means = np.concatenate([found[rng.integers(0, len(found), (size, len(found)))].mean(axis=1) for size in sizes])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """The mean difference, b minus a, over n pairs of values, with its paired bootstrap interval; `changed` of the
    pairs differ at all."""

    value: float
    low: float
    high: float
    n: int
    changed: int

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves 0 out. Where no pair differs there is nothing to resample."""
        return bool(self.changed) and (self.low > 0 or self.high < 0)


def difference(pairs: Sequence[tuple[str, float, float]]) -> Difference | None:
    """Of (name of the pair, a, b); None where there is no pair."""
    if not pairs:
        return None
    values = np.array([b - a for _, a, b in pairs])
    low, high = bootstrap(values)
    return Difference(float(values.mean()), low, high, len(values), int(np.count_nonzero(values)))


@lru_cache(maxsize=8)
def _drawn(n: int) -> npt.NDArray[np.int64]:
    """Which of n values each sample holds; figures of one evaluation are many over the same n."""
    return np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
