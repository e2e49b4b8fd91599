"""Figures of a sample, with how many they are of, what an interval leaves open, and who judged."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.estimate import Estimate
from models.algorithms.intervals import bootstrap_interval, wilson_interval

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


def value_of(measured: float | Estimate) -> float:
    """The number itself."""
    return measured.value if isinstance(measured, Estimate) else measured


def annotators_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Who judged these preferences, in few words."""
    names = sorted({str(row["annotator"]) for row in rows})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
