"""Prose that says the same again: lines, short phrases, long stretches."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from pydantic import Field

from data_store.corpus.batch import Batch, Flags, Floats
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig
from data_store.corpus.words import Hashes, Numbers, again, most_frequent, runs_of

_LEAST_WORDS = 100
_PHRASE, _STRETCH, _OFTEN = 3, 10, 7
"""A name of three words is said six times in a short text about what it names."""


class RepetitionConfig(SampleConfig):
    """Shares of a document's letters and digits. Source code, and fewer than 100 words, are not looked at."""

    max_duplicate_line_share: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of lines that have stood before in the document."
    )
    max_phrase_share: float = Field(
        default=0.18,
        ge=0,
        le=1,
        description="Largest share of the three words in a row that are said most often, seven times and more.",
    )
    max_duplicate_stretch_share: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of ten words and more in a row that have been said before."
    )


class Repetition(DocumentFilter):
    """Three of the measures of Gopher (Rae and others, arXiv 2112.11446, table A1), by characters."""

    reasons = {"repetition": "prose that says the same lines, phrases or stretches again and again"}

    def rules(self, batch: Batch, config: RepetitionConfig) -> Iterator[Rule]:
        """In order of what costs less to a reader to believe."""
        lines, phrases, stretches = (np.zeros(len(batch)) for _ in range(3))
        for index in np.flatnonzero((np.diff(batch.words.bounds) >= _LEAST_WORDS) & ~batch.is_code).tolist():
            words = batch.words.of(index)
            hashes, lengths = batch.words.hashes[words], batch.words.lengths[words]
            of = batch.lines.of(index)
            lines[index] = _duplicate_lines(batch.lines.hashes[of], batch.lines.characters[of])
            phrases[index] = _top_phrase(hashes, lengths)
            stretches[index] = _duplicate_stretches(hashes, lengths)
        for shares, most, what in (
            (lines, config.max_duplicate_line_share, "duplicate lines"),
            (phrases, config.max_phrase_share, "one phrase"),
            (stretches, config.max_duplicate_stretch_share, "duplicate stretches"),
        ):
            yield Rule("repetition", shares > most, partial(_share, shares, what))


def _share(shares: Floats, what: str, index: int) -> str:
    return f"{what} {shares[index]:.2f}"


def _duplicate_lines(hashes: Hashes, characters: Numbers) -> float:
    return float(characters[again(hashes)].sum() / characters.sum())


def _top_phrase(hashes: Hashes, lengths: Numbers) -> float:
    """Of the three words in a row that are said most often, at least seven times; overlaps of it with itself once."""
    runs = runs_of(hashes, _PHRASE)
    phrase, count = most_frequent(runs)
    return _covered(runs == phrase, _PHRASE, lengths) if count >= _OFTEN else 0.0


def _duplicate_stretches(hashes: Hashes, lengths: Numbers) -> float:
    return _covered(again(runs_of(hashes, _STRETCH)), _STRETCH, lengths)


def _covered(begins: Flags, n: int, lengths: Numbers) -> float:
    """The share of the characters that stand in the runs of n words that begin so."""
    if not begins.any():
        return 0.0
    edges = np.zeros(len(lengths) + 1, np.int64)
    at = np.flatnonzero(begins)
    np.add.at(edges, at, 1)
    np.add.at(edges, at + n, -1)
    inside = np.cumsum(edges)[:-1] > 0
    return float(lengths[inside].sum() / lengths.sum())
