"""Whether a reward model is as sure as it is right: its probability that the preferred answer is the better one,
against what people said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.algorithms.intervals import RESAMPLES, wilson_interval

LEAST = 0.5  # of the answer that a model prefers, no probability is lower
_DRAWN_AT_ONCE = 2_000_000  # outcomes, 16 MB


@dataclass(frozen=True)
class Bin:
    """Pairs that a model was about equally sure of: `n` of them between the probabilities `low` and `high`, the mean
    probability `predicted`, and the share `observed` in which people preferred the same answer, which at 95 % lies
    within `interval`."""

    low: float
    high: float
    n: int
    predicted: float
    observed: float
    interval: tuple[float, float]

    @property
    def gap(self) -> float:
        """How far what was predicted is from what was observed."""
        return abs(self.observed - self.predicted)


def preferred(difference: float) -> tuple[float, float]:
    """(probability of the answer that the model prefers, whether people prefer it) by the raw score of the chosen
    answer less that of the rejected one: sigmoid(|difference|), the model of Bradley and Terry that the ranking loss
    fits, and 1 where the difference is above 0, 0 below, ½ at 0."""
    hit = 0.5 if difference == 0 else float(difference > 0)
    return 1 / (1 + math.exp(-abs(difference))), hit


def reliability(predicted: Sequence[float], hits: Sequence[float], bins: int) -> list[Bin]:
    """The bins that hold something, of `bins` equally wide ones from ½ to 1; each holds its lower end, the last one
    both. `predicted` (n,) and `hits` (n,) as `preferred` gives them.

    Raises ValueError for a probability outside [½, 1], and for no bin. Source: reliability diagrams, DeGroot and
    Fienberg, "The Comparison and Evaluation of Forecasters", The Statistician 32 (1983).
    """
    members: dict[int, list[int]] = {}
    for number, place in enumerate(_places(predicted, bins)):
        members.setdefault(place, []).append(number)
    wide = (1 - LEAST) / bins
    found = []
    for place, mine in sorted(members.items()):
        right = math.fsum(hits[i] for i in mine)
        found.append(
            Bin(
                LEAST + place * wide,
                LEAST + (place + 1) * wide,
                len(mine),
                math.fsum(predicted[i] for i in mine) / len(mine),
                right / len(mine),
                wilson_interval(right, len(mine)),
            )
        )
    return found


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Σ n_b / n · |observed_b - predicted_b|: 0 where a model is as often right as it says.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., "On Calibration of Modern Neural Networks"
    (arXiv 1706.04599), equation 3.
    """
    n = sum(each.n for each in bins)
    return math.fsum(each.n / n * each.gap for each in bins)


def calibration_interval(predicted: Sequence[float], bins: Sequence[Bin], count: int) -> tuple[float, float]:
    """What the pairs leave open of the expected calibration error, at 95 %, of `bins` out of `count`: the error less
    and plus what chance makes of a model without error (`error_of_chance`), within [0, 1].

    In each bin |observed - predicted| is at most the true gap and what chance adds to it, and at least the true gap
    less that. The estimate is above the truth for a few pairs, because gaps are never below 0; so the interval goes
    down to 0 where a model that is as sure of the same pairs and without error would show as much.
    """
    error, chance = expected_calibration_error(bins), error_of_chance(predicted, count)
    return max(error - chance, 0.0), min(error + chance, 1.0)


def error_of_chance(predicted: Sequence[float], count: int, seed: int = 0) -> float:
    """The expected calibration error that a calibrated model stays below 95 times in a hundred, on as many pairs of
    which it is as sure: 2,000 times each pair is drawn to be right with its predicted probability.

    Source: consistency resampling, Bröcker and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and
    Forecasting 22 (2007).
    """
    import numpy as np

    chances = np.asarray(predicted, dtype=np.float64)
    is_in = np.eye(count)[_places(predicted, count)]  # (n, count)
    rng, at_once = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // len(chances))
    errors = []
    for start in range(0, RESAMPLES, at_once):
        drawn = rng.random((min(at_once, RESAMPLES - start), len(chances))) < chances
        errors.append(np.abs((drawn - chances) @ is_in).sum(axis=1) / len(chances))
    return float(np.percentile(np.concatenate(errors), 95))


def _places(predicted: Sequence[float], bins: int) -> list[int]:
    """In which bin each probability lies."""
    if bins < 1:
        raise ValueError(f"{bins} bins hold nothing")
    if outside := [each for each in predicted if not LEAST <= each <= 1]:
        raise ValueError(f"{outside[0]} is no probability of the preferred answer: these lie between {LEAST} and 1")
    return [min(int((each - LEAST) / (1 - LEAST) * bins), bins - 1) for each in predicted]
