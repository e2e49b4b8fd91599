"""Walking a large graph of names: who is reached from where, in arrays instead of in SQL or objects.

A recursive query reads all edges again in each of its rounds; here they are sorted once, and a round touches only the
edges of the names that were new in the round before.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_Ints = npt.NDArray[np.int64]


class Links:
    """Edges from names to names, as two columns of text of one length. An edge may come more than once."""

    def __init__(self, sources: pa.ChunkedArray, targets: pa.ChunkedArray) -> None:
        coded = pa.chunked_array([*sources.chunks, *targets.chunks], pa.string()).combine_chunks().dictionary_encode()
        numbers = coded.indices.to_numpy().astype(np.int64)
        self._names = coded.dictionary
        source, target = numbers[: len(sources)], numbers[len(sources) :]
        self._source, self._target = source, target
        self._sorted: _Ints = target[np.argsort(source, kind="stable")]
        self._starts: _Ints = np.concatenate(([0], np.cumsum(np.bincount(source, minlength=len(self._names)))))

    def reached(self, roots: Collection[str]) -> list[str]:
        """The roots, first and in their order, and every name that a path leads to from one of them."""
        found = np.flatnonzero(self._mask(roots))
        names: list[str] = self._names.take(pa.array(found)).to_pylist()
        given = dict.fromkeys(roots)
        return [*given, *(name for name in names if name not in given)]

    def first_sources(self, roots: Collection[str]) -> dict[str, str]:
        """Every name that a path of at least one edge leads to from a root -> of those reached (roots included) that
        have an edge to it, the first in order of name.
        """
        open_edges = self._mask(roots)[self._source]
        source, target = self._source[open_edges], self._target[open_edges]
        place: _Ints = np.empty(len(self._names), np.int64)
        by_name = pc.sort_indices(self._names).to_numpy().astype(np.int64)
        place[by_name] = np.arange(len(by_name))
        least: _Ints = np.full(len(self._names), len(self._names), np.int64)
        np.minimum.at(least, target, place[source])
        found = np.flatnonzero(least < len(self._names))
        first = by_name[least[found]]
        names, sources = (self._names.take(pa.array(chosen)).to_pylist() for chosen in (found, first))
        return dict(zip(names, sources, strict=True))

    def _mask(self, roots: Collection[str]) -> npt.NDArray[np.bool_]:
        """Which names are reached, by number."""
        mask = np.zeros(len(self._names), bool)
        known = pc.index_in(pa.array(list(roots), pa.string()), value_set=self._names).drop_null()
        frontier: _Ints = known.to_numpy().astype(np.int64)
        while len(frontier):
            mask[frontier] = True
            starts = self._starts[frontier]
            counts = self._starts[frontier + 1] - starts
            ends = np.cumsum(counts)
            edges = np.arange(counts.sum()) + np.repeat(starts - ends + counts, counts)
            after = self._sorted[edges]
            frontier = np.unique(after[~mask[after]])
        return mask
