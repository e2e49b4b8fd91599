"""Intervals of shares and of means, at 95 %."""

import math
from collections.abc import Sequence
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)  # 1.96


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The score interval of a share: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). Never outside 0 … 1, and
    never without width. Raises ValueError for n below 1.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if n < 1:
        raise ValueError("a share of nothing has no interval")
    p, square = successes / n, _Z**2 / n
    middle = (p + square / 2) / (1 + square)
    half = _Z * math.sqrt(p * (1 - p) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of values between 0 and 1: the score interval where each is 0 or 1, else mean ± 1.96 standard errors,
    cut at 0 and 1. Raises ValueError for no value."""
    n = len(values)
    if set(values) <= {0.0, 1.0} or n < 2:
        return wilson(math.fsum(values), n)
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return max(0.0, mean - _Z * error), min(1.0, mean + _Z * error)
