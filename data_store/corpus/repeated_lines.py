"""Lines that stand in many documents: menus, notices, the furniture that no list of phrases knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import Comparison, CorpusFilter, SampleConfig
from data_store.corpus.words import Hashes, Numbers

_LEAST_LINES = 4
_LEAST_WORDS = 4
_MOST = 255
_BITS = 23
"""Two tables of 2^23 one-byte counters hold lines: with 8 million different ones kept, a new line is taken for one of
ten documents about once in ten billion."""


class RepeatedLinesConfig(SampleConfig):
    """How often is often."""

    repeated_line_documents: int = Field(
        default=10,
        ge=2,
        le=_MOST,
        description="A line of 4 words and more is repeated if it stands in this many kept documents of 4 lines and "
        "more; source code is not looked at.",
    )
    max_repeated_line_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of such lines in a document's words, by their characters.",
    )


class RepeatedLines(CorpusFilter):
    """The first documents that have the lines stay."""

    reasons = {"repeated_lines": "mostly lines that stand in many documents that are kept"}

    def marks(
        self, batch: Batch, documents: Sequence[int], config: RepeatedLinesConfig
    ) -> Mapping[int, tuple[Hashes, Numbers]]:
        """The lines of each, 0 for one of few words, and their characters, where there are enough."""
        found: dict[int, tuple[Hashes, Numbers]] = {}
        for index in documents:
            if batch.n_lines[index] < _LEAST_LINES or batch.is_code[index]:
                continue
            lines = batch.lines.of(index)
            if lines.start == lines.stop:
                continue
            counted = batch.lines.n_words[lines] >= _LEAST_WORDS
            found[index] = np.where(counted, batch.lines.hashes[lines], np.uint64(0)), batch.lines.characters[lines]
        return found

    def comparison(self, config: RepeatedLinesConfig, folder: Path, memory_bytes: int) -> Comparison:
        """With counters of a fixed size."""
        return _LineCounts(config)


class _LineCounts(Comparison):
    """A count-min sketch with conservative update (Estan, Varghese, SIGCOMM 2002): it never counts too few."""

    def __init__(self, config: RepeatedLinesConfig) -> None:
        self._config = config
        self._counts = np.zeros((2, 1 << _BITS), np.uint8)
        self._seen: Numbers = np.zeros(0, np.int64)

    def repeats(self, mark: tuple[Hashes, Numbers]) -> str | None:
        """The share of lines that many have."""
        hashes, characters = mark
        self._seen = self._found(hashes)
        often = (self._seen >= self._config.repeated_line_documents) & (hashes != 0)
        share = float(characters[often].sum() / characters.sum())
        return f"repeated lines {share:.2f}" if share > self._config.max_repeated_line_share else None

    def keep(self, doc_id: str, mark: tuple[Hashes, Numbers]) -> None:
        """Count each of its lines once: a line that it has twice is set twice to the same."""
        more = np.minimum(self._seen + 1, _MOST).astype(np.uint8)
        for row, places in enumerate(self._places(mark[0])):
            self._counts[row, places] = np.maximum(self._counts[row, places], more)

    def close(self) -> None:
        """Nothing is open."""

    def _found(self, hashes: Hashes) -> Numbers:
        first, second = (self._counts[row, places] for row, places in enumerate(self._places(hashes)))
        found: Numbers = np.minimum(first, second).astype(np.int64)
        return found

    @staticmethod
    def _places(hashes: Hashes) -> tuple[Hashes, Hashes]:
        mask = np.uint64((1 << _BITS) - 1)
        return hashes & mask, (hashes >> np.uint64(32)) & mask
