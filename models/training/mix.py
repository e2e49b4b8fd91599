"""Pretraining that reads several sources by weights, the last part of it by others (annealing: Llama 3, arXiv
2407.21783, section 3.4.3).

Nothing is drawn: which source a row is of, and which tokens of it, follow from the row's number and the seed alone. So
a training that goes on at any step reads what it would have read.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from models.training.packing import IGNORED
from models.training.token_files import TokenFile

_GOLDEN = 0.6180339887498949
_CHUNK = 4096
Counts = npt.NDArray[np.int64]


class Schedule:
    """Which source each of `rows` rows is of, and the how manyth of that source it is.

    weights: share of each source, any positive numbers; annealed: those of the last rows, from row `turn` on. Row p is
    of the source in whose stretch of [0, 1) the number frac(p · golden ratio) lies, so that every stretch of rows
    holds the shares as nearly as it can (Kronecker's sequence; its discrepancy is O(log n / n)).

    Raises ValueError for other numbers of weights, for weights that are not positive (annealed ones may be 0), and for
    a turn outside of the rows.
    """

    def __init__(self, rows: int, weights: Sequence[float], annealed: Sequence[float] = (), turn: int | None = None):
        self.rows, self.turn = rows, rows if turn is None else turn
        annealed = annealed or weights
        if len(annealed) != len(weights) or min(weights) <= 0 or min(annealed) < 0 or sum(annealed) <= 0:
            raise ValueError(f"weights {list(weights)} and {list(annealed)}: one each of the same sources, above 0")
        if not 0 <= self.turn <= rows:
            raise ValueError(f"the mix turns at row {turn} of {rows}")
        self._edges = tuple(np.cumsum(each)[:-1] / sum(each) for each in (weights, annealed))
        self.sources = len(weights)
        starts = range(0, rows, _CHUNK)
        counted = [np.bincount(self._sources(start), minlength=self.sources) for start in starts]
        self._before: Counts = np.concatenate(([np.zeros(self.sources, np.int64)], np.cumsum(counted, axis=0)))

    def place(self, row: int) -> tuple[int, int]:
        """(source, how many rows of it come before). Raises IndexError beyond the last row."""
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        chunk, rest = divmod(row, _CHUNK)
        of = self._sources(chunk * _CHUNK)
        source = int(of[rest])
        return source, int(self._before[chunk][source] + np.count_nonzero(of[:rest] == source))

    def counts(self) -> list[int]:
        """Rows of each source."""
        return [int(each) for each in self._before[-1]]

    @lru_cache(maxsize=8)  # noqa: B019  # a schedule lives as long as its training
    def _sources(self, start: int) -> Counts:
        numbers = np.arange(start, min(start + _CHUNK, self.rows))
        points = (numbers * _GOLDEN) % 1.0
        first, last = (np.searchsorted(edges, points, side="right") for edges in self._edges)
        found: Counts = np.where(numbers < self.turn, first, last).astype(np.int64)
        return found


class Stream:
    """The documents of a source, epoch after epoch, each in another order, cut into rows of `size` tokens."""

    def __init__(self, tokens: TokenFile, size: int, seed: int) -> None:
        self.tokens, self.size, self.seed = tokens, size, seed
        self._orders: dict[int, tuple[Counts, Counts]] = {}

    def row(self, number: int) -> tuple[list[int], list[int]]:
        """(size ids, lengths of the pieces of documents that they are)."""
        ids, lengths = list[int](), list[int]()
        epoch, at = divmod(number * self.size, self.tokens.total)
        while len(ids) < self.size:
            order, ends = self._order(epoch)
            place = int(np.searchsorted(ends, at, side="right"))
            while place < len(order) and len(ids) < self.size:
                document = int(order[place])
                length = self.tokens.length(document)
                begin = length - (int(ends[place]) - at)
                piece = self.tokens.read(document, begin, min(length, begin + self.size - len(ids)))
                ids += piece
                lengths.append(len(piece))
                at, place = at + len(piece), place + 1
            epoch, at = epoch + 1, 0
        return ids, lengths

    def _order(self, epoch: int) -> tuple[Counts, Counts]:
        """The documents of an epoch in their order, and where each ends, in tokens. Two epochs are remembered: a row
        may lie in both."""
        if epoch not in self._orders:
            drawn = np.random.Generator(np.random.Philox(key=[self.seed % 2**64, epoch]))
            order = drawn.permutation(len(self.tokens))
            self._orders = {each: known for each, known in self._orders.items() if abs(each - epoch) <= 1}
            self._orders[epoch] = order, np.cumsum(self.tokens.lengths()[order])
        return self._orders[epoch]


class MixedRows(Dataset[dict[str, Any]]):
    """The rows of a whole training in their order, as `pack` has them: input_ids, labels (-100 does not count) and
    seq_lengths."""

    def __init__(self, schedule: Schedule, streams: Sequence[Stream]) -> None:
        if len(streams) != schedule.sources:
            raise ValueError(f"{len(streams)} streams for {schedule.sources} sources")
        self.schedule, self.streams = schedule, streams

    def __len__(self) -> int:
        return self.schedule.rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        source, number = self.schedule.place(row)
        ids, lengths = self.streams[source].row(number)
        labels, at = list(ids), 0
        for length in lengths:
            labels[at] = IGNORED  # the first token of a piece is never predicted
            at += length
        return {"input_ids": ids, "labels": labels, "seq_lengths": lengths}
