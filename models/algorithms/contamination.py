"""Whether contaminated samples are answered otherwise than others (Llama 2, arXiv 2307.09288, appendix A.6)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# name → (smallest share of contaminated tokens, the share from which on a sample is no longer in the subset)
SUBSETS: Mapping[str, tuple[float, float]] = {
    "clean": (0.0, 0.2),
    "not_clean": (0.2, math.inf),
    "not_dirty": (0.0, 0.8),
    "dirty": (0.8, math.inf),
}


@dataclass(frozen=True)
class Subset:
    """The scores of the samples of a subset. `z` is None where no sample or every one is scored alike."""

    name: str
    scores: tuple[float, ...]
    z: float | None

    @property
    def n(self) -> int:
        """How many samples are in it."""
        return len(self.scores)

    @property
    def mean(self) -> float | None:
        """Their mean score; None where there is none."""
        return math.fsum(self.scores) / self.n if self.scores else None


def in_subset(share: float, name: str) -> bool:
    """Whether a sample with this share of contaminated tokens, 0 to 1, is in the subset."""
    low, high = SUBSETS[name]
    return low <= share < high


def subset_scores(scores: Sequence[float], shares: Sequence[float]) -> list[Subset]:
    """Z = (mean - mu) / (sigma / sqrt(n)) of each subset, with the mean of its n scores, and mu and sigma the mean and
    the standard deviation of all scores.

    `scores` and `shares`, of contaminated tokens, are of the same samples in the same order. By the central limit
    theorem Z is nearly normal where a subset is a random one; the paper takes contamination to have moved a score where
    |Z| > 2 holds in all four subsets. Source: appendix A.6; the formula without a correction for drawing from few
    reproduces the Z of its table 51.
    """
    found = []
    mu = math.fsum(scores) / len(scores) if scores else 0.0
    sigma = math.sqrt(math.fsum((score - mu) ** 2 for score in scores) / len(scores)) if scores else 0.0
    for name in SUBSETS:
        mine = tuple(score for score, share in zip(scores, shares, strict=True) if in_subset(share, name))
        mean = math.fsum(mine) / len(mine) if mine else None
        z = None if mean is None or sigma < 1e-12 else (mean - mu) / (sigma / math.sqrt(len(mine)))
        found.append(Subset(name, mine, z))
    return found


def moved_by_contamination(subsets: Sequence[Subset]) -> bool:
    """Whether |Z| > 2 holds in every one of the four subsets."""
    return len(subsets) == len(SUBSETS) and all(each.z is not None and abs(each.z) > 2 for each in subsets)
