"""Walking a large graph of names: who is reached from where, in arrays instead of in SQL or objects.

A recursive query reads all edges again in each of its rounds; here they are sorted once, and a round touches only the
edges of the names that were new in the round before.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]


class Links:
    """Edges from names to names. `names` is text, each name once; the edges are two columns of one length with the
    numbers of the names, counted from 0. An edge may come more than once.
    """

    def __init__(self, names: pa.Array | pa.ChunkedArray, sources: Numbers, targets: Numbers) -> None:
        self._names = names
        self._source, self._target = sources, targets
        self._sorted: Numbers = targets[np.argsort(sources, kind="stable")]
        self._starts: Numbers = np.concatenate(([0], np.cumsum(np.bincount(sources, minlength=len(names)))))

    @classmethod
    def between(cls, sources: pa.ChunkedArray, targets: pa.ChunkedArray) -> "Links":
        """From two columns of names of one length; the numbers follow no order."""
        coded = pa.chunked_array([*sources.chunks, *targets.chunks], pa.string()).combine_chunks().dictionary_encode()
        numbers = coded.indices.to_numpy().astype(np.int64)
        return cls(coded.dictionary, numbers[: len(sources)], numbers[len(sources) :])

    def reached(self, roots: Collection[str]) -> list[str]:
        """The roots, first and in their order, and every name that a path leads to from one of them."""
        known = pc.index_in(pa.array(list(roots), pa.string()), value_set=self._names).drop_null()
        found = np.flatnonzero(self._mask(known.to_numpy().astype(np.int64)))
        names: list[str] = self._names.take(pa.array(found)).to_pylist()
        given = dict.fromkeys(roots)
        return [*given, *(name for name in names if name not in given)]

    def first_sources(self, roots: Numbers) -> Numbers:
        """For every name, by number: of the names that the roots (numbers) lead to, roots included, the one of the
        least number that has an edge to it; as many as there are names where there is none.
        """
        followed = self._mask(roots)[self._source]
        return first_source(len(self._names), self._source[followed], self._target[followed])

    def _mask(self, roots: Numbers) -> npt.NDArray[np.bool_]:
        """Which names are reached, by number."""
        mask = np.zeros(len(self._names), bool)
        place: Numbers = np.zeros(len(self._names), np.int64)
        frontier = roots
        while len(frontier):
            mask[frontier] = True
            starts = self._starts[frontier]
            counts = self._starts[frontier + 1] - starts
            ends = np.cumsum(counts)
            edges = np.arange(counts.sum()) + np.repeat(starts - ends + counts, counts)
            after = self._sorted[edges]
            new = after[~mask[after]]
            # Each name once: of several, the one that was written last. Sorting would cost ten times as much.
            order = np.arange(len(new))
            place[new] = order
            frontier = new[place[new] == order]
        return mask


def first_source(count: int, sources: Numbers, targets: Numbers) -> Numbers:
    """For each of the numbers below `count`, the least source of its edges; `count` where it has none."""
    least: Numbers = np.full(count, count, np.int64)
    np.minimum.at(least, targets, sources)
    return least
