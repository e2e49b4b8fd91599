"""The words of texts as 64-bit hashes, and what is made of them: runs of n words, and lines."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_store.corpus.signs import ACCENTED, JAMO, NUMBER, SCRIPT, code_points, sorts_of

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
_LONGEST = 64
_ZERO = np.zeros(1, np.uint64)
_LAST_BITS = (1 << 14) - 1
_FEW_BITS = np.uint64((1 << 10) - 1)
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


def sums(values: Hashes, starts: Numbers) -> Hashes:
    """The sums, modulo 2^64, of the stretches that begin at `starts`, the first of them at 0; none where there are no
    values."""
    total = np.concatenate((_ZERO, np.cumsum(values)))
    return np.diff(total[np.append(starts, len(values))]) if len(starts) else values[:0]


def _often(holds: npt.NDArray[np.bool_], starts: Numbers) -> Numbers:
    """How often it holds in each stretch."""
    if not holds.any():  # so it is in texts of one script
        return np.zeros(len(starts), np.int64)
    found: Numbers = np.add.reduceat(holds.view(np.uint8), starts, dtype=np.int64)
    return found


def _before(breaks: Numbers, starts: Numbers) -> Numbers:
    """How many of the breaks stand before each start."""
    found: Numbers = np.cumsum(np.bincount(np.searchsorted(starts, breaks), minlength=len(starts) + 1)[:-1])
    return found


def _of_places(starts: Numbers, lengths: Numbers) -> Hashes:
    """A multiplier for each member of the stretches, by its place in its own: numbers of a byte, which go around as
    places of `_LONGEST` do."""
    all_places = np.resize(np.arange(256, dtype=np.uint8), lengths.sum())
    places = all_places - np.repeat(starts.astype(np.uint8), lengths)
    return np.take(_multipliers(), places & np.uint8(_LONGEST - 1))


class Words:
    """The words of several texts, one after the other.

    A word is a run of letters, marks and digits; a Han sign and a kana are words by themselves, since they are written
    without blanks. `hashes`, `lengths` (characters), `syllables` (of Hangul), `is_mixed` (Hangul with Latin letters or
    digits), `is_jamo` (single letters of Hangul alone) and `lines` (number of the line, over all texts) have an entry
    a word; text i has those from `bounds[i]` to `bounds[i + 1]`.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        points = code_points("\n".join(texts))
        sorts = sorts_of(points)
        single = (sorts == SCRIPT["han"]) | (sorts == SCRIPT["kana"])
        of_word = sorts >= NUMBER
        begins = of_word.copy()
        begins[1:] &= ~of_word[:-1] | single[1:] | single[:-1]
        at = np.flatnonzero(of_word)
        starts = np.flatnonzero(begins)
        first = np.flatnonzero(begins[at])  # where each word begins among the characters of words
        self.lengths: Numbers = np.diff(first, append=len(at))
        coded = (points[at].astype(np.uint64) + np.uint64(1)) * _of_places(first, self.lengths)
        self.hashes: Hashes = _mixed(sums(coded, first))
        of = sorts[at]
        self.syllables: Numbers = _often(of == SCRIPT["hangul"], first)
        other = (of == SCRIPT["latin"]) | (of == ACCENTED) | (of == NUMBER)
        self.is_mixed = (self.syllables > 0) & (_often(other & self.syllables.any(), first) > 0)
        self.is_jamo = _often(of == JAMO, first) == self.lengths
        self.lines = _before(np.flatnonzero(points == _NEWLINE), starts)
        ends = np.cumsum([len(text) + 1 for text in texts])
        self.bounds: Numbers = np.concatenate(([0], np.searchsorted(starts, ends)))

    def of(self, text: int) -> slice:
        """Where the words of a text are."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))


class Lines:
    """The lines of texts that have words in them: a hash of the words of each, its characters (of words) and how many
    words it has. Text i has those from `bounds[i]` to `bounds[i + 1]`."""

    def __init__(self, words: Words) -> None:
        starts = np.flatnonzero(np.diff(words.lines, prepend=-1))
        self.hashes = ordered_sums(words.hashes, starts)
        self.n_words: Numbers = np.diff(starts, append=len(words.lines))
        self.characters: Numbers = np.add.reduceat(words.lengths, starts) if len(starts) else starts
        self.bounds: Numbers = np.searchsorted(starts, words.bounds)

    def of(self, text: int) -> slice:
        """Where the lines of a text are."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))


@lru_cache(maxsize=8)
def hashes_of(words: tuple[str, ...]) -> Hashes:
    """The hashes that single words in lower case have among others, sorted."""
    return np.sort(Words(words).hashes)


def is_among(hashes: Hashes, chosen: Hashes) -> npt.NDArray[np.bool_]:
    """Which hashes are among the chosen, which are few and sorted. By their last bits most are told to be none."""
    may_be = np.zeros(_LAST_BITS + 1, np.bool_)
    may_be[chosen & np.uint64(_LAST_BITS)] = True
    found: npt.NDArray[np.bool_] = may_be[hashes & np.uint64(_LAST_BITS)]
    at = np.flatnonzero(found)
    if len(at):
        places = np.minimum(np.searchsorted(chosen, hashes[at]), len(chosen) - 1)
        found[at] = chosen[places] == hashes[at]
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
    return _mixed(sums(hashes * _of_places(starts, np.diff(starts, append=len(hashes))), starts))


def most_frequent(values: Hashes) -> tuple[np.uint64, int]:
    """The value that stands most often, the smallest of several, and how often; there is at least one value."""
    ordered = np.sort(values)
    edges = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    counts = np.diff(edges)
    return ordered[edges[counts.argmax()]], int(counts.max())


def at_most(values: Hashes) -> int:
    """No value stands more often than this: they are counted by their last bits, which is faster than to sort them."""
    return int(np.bincount((values & _FEW_BITS).astype(np.int64)).max())


def again(values: Hashes) -> npt.NDArray[np.bool_]:
    """Which values have stood before, in the order given."""
    if len(distinct(values)) == len(values):  # so it is with most, and costs a third
        return np.zeros(len(values), np.bool_)
    _, first = np.unique(values, return_index=True)
    found = np.ones(len(values), np.bool_)
    found[first] = False
    return found
