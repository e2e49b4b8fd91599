"""What formats whose answers have scores or ranks need."""

import math
from collections.abc import Mapping
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import Messages
from data_store.reading.preference_formats.options import RatingGaps
from data_store.reading.preference_formats.pairs import Row, judged
from data_store.reading.source_files import Record

SCORES_OF_TEN = RatingGaps(significantly_better=4, better=2, slightly_better=1)
SCORES_OF_FIVE = RatingGaps(significantly_better=3, better=2, slightly_better=1)
SCORES_OF_ONE = RatingGaps(significantly_better=0.4, better=0.2, slightly_better=0.1)
_NO_SCORE = ("N/A", "", None)

Scored = tuple[str, float | None]


def scored_pair(source: str, prompt: Messages, first: Scored, second: Scored, gaps: RatingGaps) -> Row:
    """The pair of two answers with their scores, the higher the better. Raises RefusedRowError without one, or for
    equal ones."""
    if first[1] is None or second[1] is None:
        raise RefusedRowError("no_score", "an answer has none")
    if first[1] == second[1]:
        raise RefusedRowError("tie", f"both scores are {first[1]:g}")
    better, worse = (first, second) if first[1] > second[1] else (second, first)
    return judged(source, prompt, better[0], worse[0], rating=gaps.word(abs(first[1] - second[1])))


def ranked_pair(source: str, prompt: Messages, first: Scored, second: Scored, gaps: RatingGaps) -> Row:
    """The same of ranks, the lower the better."""
    if first[1] is None or second[1] is None:
        raise RefusedRowError("no_rank", "an answer has none")
    if first[1] == second[1]:
        raise RefusedRowError("tie", f"both ranks are {first[1]:g}")
    better, worse = (first, second) if first[1] < second[1] else (second, first)
    return judged(source, prompt, better[0], worse[0], rating=gaps.word(abs(first[1] - second[1])))


def score_of(record: Record, field: str) -> float | None:
    """The number that the dotted path leads to; None for one that is not given. Raises InputError for anything else."""
    value: Any = record.fields
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else "none"
            raise InputError(f"{record.where}: there is no score {field!r}: {name!r} is not among the fields {there}")
        value = value[name]
    if value in _NO_SCORE:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{record.where}: score {field!r} is {value!r}; give a number")
    return number
