"""The words of texts as 64-bit hashes, and what is made of them: runs of n words, and lines."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_store.corpus.signs import JAMO, LETTERS, MARK, NUMBER, SCRIPT, code_points, sorts_of

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
_LONGEST = 64
_NEWLINE = ord("\n")


@lru_cache(maxsize=1)
def _multipliers() -> Hashes:
    """Odd 64-bit numbers, always the same: hashes are compared within a run, and a run is repeatable."""
    return np.random.default_rng(2307_09288).integers(0, 2**63, _LONGEST, np.uint64) * np.uint64(2) + np.uint64(1)


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a value into every bit: the finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def sums(values: npt.NDArray[np.generic], starts: Numbers) -> npt.NDArray[np.generic]:
    """The sums of the stretches that begin at `starts`; an empty stretch of nothing gives none."""
    return np.add.reduceat(values, starts) if len(starts) else values[:0]


class Words:
    """The words of several texts, one after the other.

    A word is a run of letters, marks and digits; a Han sign and a kana are words by themselves, since they are written
    without blanks. `hashes`, `lengths` (characters), `syllables` (of Hangul), `is_jamo` (single letters of Hangul
    alone) and `lines` (number of the line, over all texts) have an entry a word; text i has those from `bounds[i]` to
    `bounds[i + 1]`.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        points = code_points("\n".join(texts))
        sorts = sorts_of(points)
        single = (sorts == SCRIPT["han"]) | (sorts == SCRIPT["kana"])
        of_word = _is_one_of(sorts, (*LETTERS, MARK, NUMBER))
        begins = of_word.copy()
        begins[1:] &= ~of_word[:-1] | single[1:] | single[:-1]
        at = np.flatnonzero(of_word)
        starts = np.flatnonzero(begins)
        first = np.flatnonzero(begins[at])  # where each word begins among the characters of words
        position = np.arange(len(at)) - np.repeat(first, np.diff(first, append=len(at)))
        coded = (points[at].astype(np.uint64) + np.uint64(1)) * _multipliers()[position % _LONGEST]
        self.hashes: Hashes = _mixed(sums(coded, first).astype(np.uint64))
        self.lengths: Numbers = np.diff(first, append=len(at))
        self.syllables: Numbers = sums((sorts[at] == SCRIPT["hangul"]).astype(np.int64), first).astype(np.int64)
        self.is_jamo = sums((sorts[at] != JAMO).astype(np.int64), first) == 0
        breaks = np.flatnonzero(points == _NEWLINE)
        self.lines: Numbers = np.searchsorted(breaks, starts)
        ends = np.cumsum([len(text) + 1 for text in texts])
        self.bounds: Numbers = np.concatenate(([0], np.searchsorted(starts, ends)))

    def of(self, text: int) -> slice:
        """Where the words of a text are."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))


def _is_one_of(sorts: npt.NDArray[np.uint8], wanted: Sequence[int]) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(256, np.bool_)
    chosen[list(wanted)] = True
    return chosen[sorts]


@lru_cache(maxsize=8)
def hashes_of(words: tuple[str, ...]) -> Hashes:
    """The hashes that single words in lower case have among others, sorted."""
    return np.sort(Words(words).hashes)


def is_among(hashes: Hashes, chosen: Hashes) -> npt.NDArray[np.bool_]:
    """Which hashes are among the chosen, which are sorted."""
    if not len(chosen):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(chosen, hashes), len(chosen) - 1)
    found: npt.NDArray[np.bool_] = chosen[places] == hashes
    return found


def distinct(values: Hashes) -> Hashes:
    """The different ones, sorted. numpy's `unique` goes by a hash table, which takes three times as long."""
    ordered = np.sort(values)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def runs_of(hashes: Hashes, n: int) -> Hashes:
    """The hashes of all runs of n words, in their order; none where there are fewer words."""
    if len(hashes) < n:
        return hashes[:0]
    count = len(hashes) - n + 1
    multipliers = _multipliers()
    total = hashes[:count] * multipliers[0]
    for offset in range(1, n):
        total += hashes[offset : offset + count] * multipliers[offset]
    return _mixed(total)


def ordered_sums(hashes: Hashes, starts: Numbers) -> Hashes:
    """A hash of each stretch of words that begins at `starts`; the order of its words counts."""
    position = np.arange(len(hashes)) - np.repeat(starts, np.diff(starts, append=len(hashes)))
    return _mixed(sums(hashes * _multipliers()[position % _LONGEST], starts).astype(np.uint64))


def most_frequent(values: Hashes) -> tuple[np.uint64, int]:
    """The value that stands most often, the smallest of several, and how often; there is at least one value."""
    ordered = np.sort(values)
    edges = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    counts = np.diff(edges)
    return ordered[edges[counts.argmax()]], int(counts.max())


def again(values: Hashes) -> npt.NDArray[np.bool_]:
    """Which values have stood before, in the order given."""
    if len(distinct(values)) == len(values):  # so it is with most, and costs a third
        return np.zeros(len(values), np.bool_)
    _, first = np.unique(values, return_index=True)
    found = np.ones(len(values), np.bool_)
    found[first] = False
    return found
