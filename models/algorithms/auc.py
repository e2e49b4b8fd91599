"""How well scores tell two sorts of items apart, whatever threshold is taken."""

import math

import torch

_Z = 1.959963984540054  # of the normal distribution, two-sided, 95 %
_HALVINGS = 60


def wins(positives: torch.Tensor, negatives: torch.Tensor) -> float:
    """Of the m · n pairs of a positive (m,) and a negative score (n,) those in which the positive one is higher; equal
    ones count as half: the statistic U of Mann and Whitney, exact."""
    ordered = negatives.sort().values
    below = torch.searchsorted(ordered, positives.contiguous())
    up_to = torch.searchsorted(ordered, positives.contiguous(), right=True)
    return int((below + up_to).sum()) / 2


def auc_interval(auc: float, m: int, n: int) -> tuple[float, float]:
    """Newcombe's interval, at 95 %, of an area under the ROC curve, U / (m n), of m positives and n negatives; it has
    width at 0 and at 1, too.

    Its bounds are the θ below and above `auc` with |auc - θ| = z sqrt(V(θ)), where with N = (m + n) / 2 - 1
    V(θ) = θ (1 - θ) (1 + N (1 - θ) / (2 - θ) + N θ / (1 + θ)) / (m n). It takes items as independent.

    Raises ValueError unless 0 <= auc <= 1 and m, n >= 1. Source: Newcombe, "Confidence intervals for an effect size
    measure based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25 (2006), method 5; the variance is
    Hanley and McNeil's, Radiology 143 (1982).
    """
    if m < 1 or n < 1 or not 0 <= auc <= 1:
        raise ValueError(f"{auc} of {m} and {n} is no area")
    return _bound(auc, 0.0, m, n), _bound(auc, 1.0, m, n)


def _bound(auc: float, outer: float, m: int, n: int) -> float:
    """Between `auc`, where the distance is too short for its error, and `outer`, where it is long enough."""
    if auc == outer:
        return outer
    near, far, more = auc, outer, (m + n) / 2 - 1
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        spread = 1 + more * (1 - middle) / (2 - middle) + more * middle / (1 + middle)
        error = _Z * math.sqrt(middle * (1 - middle) * spread / (m * n))
        near, far = (near, middle) if abs(auc - middle) >= error else (middle, far)
    return (near + far) / 2
