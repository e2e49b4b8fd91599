"""Figures of a sample, with how many they are of, what an interval leaves open, and who judged."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.estimate import Estimate
from models.algorithms.contamination import Subset
from models.algorithms.intervals import bootstrap_interval, interval_of_mean, wilson_interval

_NAMED = 3


def rate_of(hits: Sequence[bool | float], judge: str | None = None) -> Estimate:
    """The share of hits, at least one being looked at; a tie is half a hit."""
    total = float(sum(hits))
    return Estimate(total / len(hits), len(hits), *wilson_interval(total, len(hits)), judge)


def win_rate_of(outcomes: Sequence[float], judge: str | None = None) -> Estimate:
    """The mean of wins (1), ties (½) and losses (0), one of each prompt. The bootstrap knows how much ties narrow it;
    where all outcomes are alike it sees no spread at all, and where none is a tie they are a rate: Wilson's then."""
    if len(set(outcomes)) == 1 or 0.5 not in outcomes:
        return rate_of(outcomes, judge)
    return mean_of(outcomes, judge)


def mean_of(values: Sequence[float], judge: str | None = None) -> Estimate:
    """The mean; one value alone has no interval."""
    low, high = bootstrap_interval(values) if len(values) > 1 else (None, None)
    return Estimate(statistics.fmean(values), len(values), low, high, judge)


def score_of(scores: Sequence[float], judge: str | None = None) -> Estimate:
    """The mean score: a rate where all are 0 or 1, or all alike between them, where the bootstrap sees no spread."""
    is_rate = set(scores) <= {0.0, 1.0} or (len(set(scores)) == 1 and 0 <= scores[0] <= 1)
    return rate_of(scores, judge) if is_rate else mean_of(scores, judge)


def mean_of_figures(figures: Sequence[Estimate]) -> Estimate:
    """The mean of independent figures of one judge, each counted once, of all that they are of."""
    values, n = [each.value for each in figures], sum(each.n for each in figures)
    known = [(each.low, each.high) for each in figures if each.low is not None and each.high is not None]
    low, high = interval_of_mean(values, known) if len(known) == len(figures) else (None, None)
    return Estimate(statistics.fmean(values), n, low, high, figures[0].judge)


def of_subsets(subsets: Iterable[Subset], prefix: str, judge: str) -> dict[str, float | Estimate]:
    """`PREFIX/SUBSET/score` and `PREFIX/SUBSET/z` of clean and of contaminated samples; of no sample there is none."""
    found: dict[str, float | Estimate] = {}
    for each in subsets:
        if each.scores:
            found[f"{prefix}/{each.name}/score"] = score_of(each.scores, judge)
        if each.z is not None:
            found[f"{prefix}/{each.name}/z"] = each.z
    return found


def value_of(measured: float | Estimate) -> float:
    """The number itself."""
    return measured.value if isinstance(measured, Estimate) else measured


def annotators_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Who judged these preferences, in few words."""
    names = sorted({str(row["annotator"]) for row in rows})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
