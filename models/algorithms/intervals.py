"""What a sample leaves open: 95 % confidence intervals of rates and of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

RESAMPLES = 2000
_Z = 1.959963984540054  # of the normal distribution, two-sided, 95 %
_DRAWN_AT_ONCE = 4_000_000  # indices, 32 MB


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a rate of `successes` in `n`; it has width at 0 of n and at n of n, too.

    (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n), with p = successes / n. Half successes (ties) count as
    half: their variance is below p (1 - p), so the interval is too wide for them rather than too narrow.

    Raises ValueError unless 0 <= successes <= n and n >= 1. Source: Wilson, "Probable Inference, the Law of Succession,
    and Statistical Inference", JASA 22 (1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no rate")
    p, z2 = successes / n, _Z * _Z
    middle = p + z2 / (2 * n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    # rounding may leave 0 of n a hair above 0
    return (0.0 if successes == 0 else max(low, 0.0)), (1.0 if successes == n else min(high, 1.0))


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,): the 2.5th and 97.5th percentile of the means of 2,000 samples
    of n drawn with replacement. Of the differences of paired values it is the paired bootstrap, which keeps what
    belongs together together. The same values in the same order give the same interval.

    Raises ValueError for less than two values. Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993),
    section 13.3; paired, for systems that answer the same prompts: Koehn, EMNLP 2004.
    """
    import numpy as np

    n = len(values)
    if n < 2:
        raise ValueError(f"{n} values have no spread")
    array = np.asarray(values, dtype=np.float64)
    if n * RESAMPLES <= _DRAWN_AT_ONCE:
        means = array[_drawn(n, seed)].mean(axis=1)
    else:
        at_once, rng = max(1, _DRAWN_AT_ONCE // n), np.random.default_rng(seed)
        sizes = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
        means = np.concatenate([array[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@lru_cache(maxsize=2)
def _drawn(n: int, seed: int) -> Any:
    """Which of n values each sample holds: figures of one evaluation are many over the same n."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))


def jackknife_interval(value: float, without: Sequence[float]) -> tuple[float, float]:
    """Interval of a figure that is no mean, such as a share of all words of n answers together: `value` less and plus z
    times the jackknife's standard error, sqrt((n - 1) / n · Σ (θ_i - mean θ)²), where `without` (n,) holds θ_i, the
    figure of all answers but the i-th. Of a mean it is the usual standard error s / sqrt(n). A bootstrap would draw
    answers twice, and what is said twice is what such a figure counts.

    Raises ValueError for less than two values. Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993),
    section 11.2.
    """
    n = len(without)
    if n < 2:
        raise ValueError(f"{n} values have no spread")
    mean = math.fsum(without) / n
    error = math.sqrt((n - 1) / n * math.fsum((each - mean) ** 2 for each in without))
    return value - _Z * error, value + _Z * error


def interval_of_mean(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Interval of the mean of k independent figures, each counted once, from those of the figures: with (l_i, u_i) of
    the figure v_i the mean less sqrt(Σ (v_i - l_i)²) / k, and the mean and sqrt(Σ (u_i - v_i)²) / k. It never leaves
    the bounds that no figure's interval leaves.

    Raises ValueError for no figure. Source: Zou and Donner, "Construction of confidence intervals about effect
    measures: a general approach", Statistics in Medicine 27 (2008), sums of several figures.
    """
    if not values:
        raise ValueError("the mean of no figure has no interval")
    k, mean = len(values), math.fsum(values) / len(values)
    below = math.sqrt(math.fsum((v - low) ** 2 for v, (low, _) in zip(values, intervals, strict=True)))
    above = math.sqrt(math.fsum((high - v) ** 2 for v, (_, high) in zip(values, intervals, strict=True)))
    return mean - below / k, mean + above / k
