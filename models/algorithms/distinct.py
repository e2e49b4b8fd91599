"""Vectors of which no two lie close together: a later one that is too close to a kept one is dropped.

Llama 3 (arXiv 2407.21783, section 4.2.3) drops dialogues that mean the same so: it goes through them in an order, and
keeps each whose largest cosine to all that were kept is below a threshold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

_TOGETHER = 4096  # kept vectors of one product
_SLACK = 1e-4  # how far a product in float32 may lie from the cosine; what is this near is computed again


@dataclass(frozen=True)
class Near:
    """The kept vector that is closest: its place in the order in which they were kept, and the cosine."""

    place: int
    cosine: float


class Distinct:
    """Kept vectors of width d, each with a cosine below `threshold` to those before it. Holds 4 d bytes a kept vector,
    and B times 4,096 numbers while B others are compared."""

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a cosine of {threshold} is no threshold: give one above 0 and not above 1")
        self._threshold = threshold
        self._blocks: list[torch.Tensor] = []

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def nearest(self, vectors: torch.Tensor) -> list[Near | None]:
        """Of each of `vectors` (B, d) the closest kept one, where its cosine is the threshold or more; of equally close
        ones the first. Nothing is kept."""
        found: list[Near | None] = [None] * len(vectors)
        start = 0
        for block in self._blocks:
            for row, column, cosine in self._close(vectors, block):
                found[row] = _closer(found[row], Near(start + column, cosine))
            start += len(block)
        return found

    def add(self, vectors: torch.Tensor) -> list[Near | None]:
        """The same, one after the other, of `vectors` (B, d) and those of them that stay: None of each that is kept."""
        found, within = self.nearest(vectors), dict[int, list[tuple[int, float]]]()
        for row, column, cosine in self._close(vectors, vectors):
            if column < row:
                within.setdefault(row, []).append((column, cosine))
        start, places = len(self), dict[int, int]()
        for row in range(len(vectors)):
            for column, cosine in within.get(row, ()):
                if column in places:
                    found[row] = _closer(found[row], Near(places[column], cosine))
            if found[row] is None:
                places[row] = start + len(places)
        self.keep(vectors[list(places)])
        return found

    def keep(self, vectors: torch.Tensor) -> None:
        """Keep `vectors` (B, d), whatever they are close to."""
        if self._blocks and len(self._blocks[-1]) + len(vectors) <= _TOGETHER:
            vectors = torch.cat([self._blocks.pop(), vectors])
        self._blocks.append(vectors)

    def _close(self, vectors: torch.Tensor, others: torch.Tensor) -> Iterator[tuple[int, int, float]]:
        """(row, column, cosine) wherever it is the threshold or more, in float64: how many are compared at once, and in
        which blocks, changes nothing."""
        rows, columns = torch.nonzero(vectors @ others.T >= self._threshold - _SLACK, as_tuple=True)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            cosine = float(torch.nn.functional.cosine_similarity(vectors[row].double(), others[column].double(), dim=0))
            if cosine >= self._threshold:
                yield row, column, cosine


def _closer(one: Near | None, other: Near) -> Near:
    return other if one is None or other.cosine > one.cosine else one


def cosines(vectors: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """(P,) in float64, of P pairs of rows of `vectors` (N, d)."""
    ones, others = (torch.tensor([pair[side] for pair in pairs], dtype=torch.long) for side in (0, 1))
    return torch.nn.functional.cosine_similarity(vectors[ones].double(), vectors[others].double())
