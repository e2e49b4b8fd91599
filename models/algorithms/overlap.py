"""Which tokens of evaluation samples stand in training documents: Llama 2's skip-grams, and the longest matches.

Llama 2 (arXiv 2307.09288), appendix A.6: a token of a sample is contaminated if it is in a token n-gram of at least 10
tokens that is in the sample and in the training data; the two may differ in up to four places (the skip-gram budget),
none of which is among the first 10 tokens or the last one. Singh et al. (arXiv 2411.03923) find that the longest match
alone, in proportion to the sample, tells more of what a model gained by it than the union of all matches.

The samples are indexed, the documents stream past: memory is that of the samples and of one stretch of documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_BETWEEN_SAMPLES, _BETWEEN_DOCUMENTS = -2, -1  # they differ: no match goes past the end of either
_STRETCH = 1 << 21  # tokens of documents that are looked at together
_PAIRS = 1 << 20  # places in samples and documents that are compared at once
_OFTEN = 64  # so many places of one n-gram in a stretch are followed beyond it
_NAMED = 5  # documents that are named of a sample
_BASE, _SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class Overlap:
    """What of a sample stands in the documents, in tokens. `contaminated` are those in any match. The longest match is
    `longest` tokens, skipped ones not counted, and lies at `start` … `end` of the sample. `documents` are the first
    ones with the longest matches, at most 5, longest first."""

    tokens: int
    contaminated: int = 0
    longest: int = 0
    start: int = 0
    end: int = 0
    documents: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Contaminated tokens among all, 0 to 1."""
        return self.contaminated / self.tokens if self.tokens else 0.0

    @property
    def longest_share(self) -> float:
        """The longest match in proportion to the sample, 0 to 1."""
        return self.longest / self.tokens if self.tokens else 0.0


@dataclass
class _Found:
    """Pairs of places at which a sample and a document say the same, with how far they do. (M,) each."""

    sample: Places
    document: Places
    start: Places
    end: Places
    length: Places

    def chosen(self, which: npt.NDArray[np.bool_] | Places) -> "_Found":
        return _Found(*(getattr(self, name)[which] for name in ("sample", "document", "start", "end", "length")))


class OverlapSearch:
    """Holds samples, as token ids, against documents that are added.

    A match begins with `ngram` equal tokens and goes on over at most `skips` unequal ones. Of an n-gram that a stretch
    of documents has more than 64 times, 64 places are followed beyond the n-gram; its own tokens count at all of them.
    Raises ValueError for an n-gram of no token or fewer skips than none.
    """

    def __init__(self, samples: Sequence[Sequence[int]], ngram: int = 10, skips: int = 4) -> None:
        if ngram < 1 or skips < 0:
            raise ValueError(f"an n-gram has 1 token or more and 0 skips or more, not {ngram} and {skips}")
        self._ngram, self._skips = ngram, skips
        self._tokens, self._starts = _laid_out(samples, _BETWEEN_SAMPLES)
        self._lengths = np.array([len(sample) for sample in samples], np.int64)
        widths = np.diff(self._starts, prepend=0, append=len(self._tokens))
        self._sample_of = np.repeat(np.arange(len(samples) + 1), widths)  # from 1: what stands before the first is 0
        self._covered = np.zeros(len(self._tokens), np.bool_)
        self._best = [Overlap(len(sample)) for sample in samples]
        self._named: list[list[tuple[int, str]]] = [[] for _ in samples]
        self._index()
        self._waiting: list[Sequence[int]] = []
        self._names: list[str] = []
        self._waiting_tokens = 0

    def add(self, names: Sequence[str], documents: Sequence[Sequence[int]]) -> None:
        """Look at more documents, each with the name by which it is told."""
        for name, document in zip(names, documents, strict=True):
            self._names.append(name)
            self._waiting.append(document)
            self._waiting_tokens += len(document)
            if self._waiting_tokens >= _STRETCH:
                self._look()

    def overlaps(self) -> list[Overlap]:
        """Of each sample, with all documents so far."""
        self._look()
        covered = self._covered.copy()
        exact = self._places[np.repeat(self._seen, self._counts)]
        for offset in range(self._ngram):
            covered[exact + offset] = True
        sums = np.bincount(self._sample_of[covered], minlength=len(self._best) + 1)[1:]
        return [
            replace(best, contaminated=int(count), documents=tuple(name for _, name in named))
            for best, count, named in zip(self._best, sums, self._named, strict=True)
        ]

    def _index(self) -> None:
        """The n-grams of the samples by hash, and a table that tells quickly which hashes are none of them."""
        ends = self._starts + self._lengths
        places = np.arange(1, len(self._tokens))
        whole = places[places + self._ngram <= ends[self._sample_of[1:] - 1]]
        hashes = _hashes(self._tokens, self._ngram)[whole] if len(whole) else np.empty(0, np.uint64)
        order = np.argsort(hashes, kind="stable")
        self._places = whole[order]
        self._hashes, self._first, self._counts = np.unique(hashes[order], return_index=True, return_counts=True)
        self._seen = np.zeros(len(self._hashes), np.bool_)
        bits = min(max(len(self._hashes).bit_length() + 4, 10), 26)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._hashes >> self._shift] = True

    def _look(self) -> None:
        """At the documents that wait."""
        if self._waiting and len(self._hashes):
            text, starts = _laid_out(self._waiting, _BETWEEN_DOCUMENTS)
            for samples, documents in self._seeds(text):
                found = self._follow(text, samples, documents)
                found.document = np.searchsorted(starts, found.document, side="right") - 1
                self._keep(found)
        self._waiting, self._names, self._waiting_tokens = [], [], 0

    def _seeds(self, text: Tokens) -> Iterator[tuple[Places, Places]]:
        """Places in the samples and in the text whose n-grams are equal, as many at once as can be held."""
        hashes = _hashes(text, self._ngram)
        places = np.flatnonzero(self._table[hashes >> self._shift])
        number = np.minimum(np.searchsorted(self._hashes, hashes[places]), len(self._hashes) - 1)
        same = self._hashes[number] == hashes[places]
        places, number = places[same], number[same]
        if not len(places):
            return
        order = np.argsort(number, kind="stable")
        groups = number[order]
        first = np.flatnonzero(np.diff(groups, prepend=-1))
        self._see(text, groups[first], places[order[first]])
        rank = np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))
        kept = np.sort(order[rank < _OFTEN])
        places, number = places[kept], number[kept]
        ends = np.cumsum(self._counts[number])
        start = 0
        while start < len(places):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
            yield self._pairs(places[start:stop], number[start:stop])
            start = stop

    def _see(self, text: Tokens, numbers: Places, places: Places) -> None:
        """Note which n-grams are in the text, compared word by word: equal hashes are no proof."""
        ours = self._places[self._first[numbers]]
        equal = np.ones(len(numbers), np.bool_)
        for offset in range(self._ngram):
            equal &= self._tokens[ours + offset] == text[places + offset]
        self._seen[numbers[equal]] = True

    def _pairs(self, places: Places, number: Places) -> tuple[Places, Places]:
        """Each place in the text with each one in the samples; one alone of those that lie in one run of equal
        tokens, its first."""
        counts = self._counts[number]
        behind = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        samples = self._places[np.repeat(self._first[number], counts) + behind]
        documents = np.repeat(places, counts)
        width = int(places.max()) + 2
        keys = samples * width + documents
        ordered = np.sort(keys)
        before = keys - width - 1
        at = np.minimum(np.searchsorted(ordered, before), len(ordered) - 1)
        leads = ordered[at] != before
        return samples[leads], documents[leads]

    def _follow(self, text: Tokens, samples: Places, documents: Places) -> _Found:
        """From each pair to the left over equal tokens, then to the right over at most `skips` unequal ones."""
        samples, documents = samples.copy(), documents.copy()
        going = np.arange(len(samples))
        while len(going := going[self._tokens[samples[going] - 1] == text[documents[going] - 1]]):
            samples[going] -= 1
            documents[going] -= 1
        length, end, skipped = (np.zeros(len(samples), np.int64) for _ in range(3))
        going, offset = np.arange(len(samples)), 0
        while len(going):
            places = samples[going] + offset
            ours, theirs = self._tokens[places], text[documents[going] + offset]
            equal = ours == theirs
            length[going[equal]] += 1
            end[going[equal]] = offset + 1
            if offset >= self._ngram:  # before, a pair of another hash alone is unequal, and ends
                self._covered[places[equal]] = True
                skipped[going[~equal]] += 1
                allowed = (ours != _BETWEEN_SAMPLES) & (theirs != _BETWEEN_DOCUMENTS)
                equal |= allowed & (skipped[going] <= self._skips)
            going = going[equal]
            offset += 1
        found = _Found(self._sample_of[samples] - 1, documents, samples, samples + end, length)
        return found.chosen(length >= self._ngram)

    def _keep(self, found: _Found) -> None:
        """Of each sample the longest match, and the documents with the longest ones."""
        found = found.chosen(np.lexsort((found.document, -found.length, found.sample)))
        _, first = np.unique(found.sample * len(self._names) + found.document, return_index=True)
        found = found.chosen(np.sort(first))
        leads = np.flatnonzero(np.diff(found.sample, prepend=-1))
        rank = np.arange(len(found.sample)) - np.repeat(leads, np.diff(leads, append=len(found.sample)))
        for place in np.flatnonzero(rank < _NAMED):
            sample, length = int(found.sample[place]), int(found.length[place])
            named = [*self._named[sample], (length, self._names[int(found.document[place])])]
            self._named[sample] = sorted(named, key=lambda each: -each[0])[:_NAMED]
            if length > self._best[sample].longest:
                start, end = (int(at[place]) - int(self._starts[sample]) for at in (found.start, found.end))
                self._best[sample] = replace(self._best[sample], longest=length, start=start, end=end)


def _laid_out(rows: Sequence[Sequence[int]], between: int) -> tuple[Tokens, Places]:
    """All rows in one array, with `between` before, between and after them; and where each one begins."""
    lengths = np.array([len(row) for row in rows], np.int64)
    starts = 1 + np.cumsum(lengths + 1) - (lengths + 1)
    tokens = np.full(int(lengths.sum()) + len(rows) + 1, between, np.int32)
    for start, row in zip(starts.tolist(), rows, strict=True):
        tokens[start : start + len(row)] = row
    return tokens, starts


def _hashes(tokens: Tokens, ngram: int) -> Hashes:
    """A hash of the n-gram at each place, the last ones left out: polynomial in 64 bits, and spread over them."""
    count = max(len(tokens) - ngram + 1, 0)
    words = (tokens.astype(np.uint64) + np.uint64(3)) * _SPREAD
    words ^= words >> np.uint64(29)
    found = np.zeros(count, np.uint64)
    for offset in range(ngram):
        found *= _BASE
        found += words[offset : offset + count]
    found ^= found >> np.uint64(32)
    return found * _SPREAD
