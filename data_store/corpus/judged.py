"""What can be said of documents without those before them: mended, judged by themselves, and by what others are told to
be like them. It takes most of the filter's time, and any process can do it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from data_store.corpus.batch import Batch
from data_store.corpus.counts import Dropped, SourceCounts, file_in
from data_store.corpus.groups import unpacked
from data_store.corpus.quality import LOW_QUALITY, QualityJudge
from data_store.corpus.registry import CHANGES, CORPUS_FILTERS, DOCUMENT_FILTERS, FilterConfig
from data_store.rows import row_kind

_EXAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class Judged:
    """Some documents that follow each other: `documents` are those that no rule drops, as mended rows, and `places`
    where they stand among all; `dropped` are the others.

    `marks`, of each filter of the corpus, are those of the rows of `documents` that it compares, and `changed` what was
    changed in the rows that were. `sources` count all documents as kept, by file.
    """

    documents: pa.Table
    places: Sequence[int]
    dropped: Sequence[Dropped]
    marks: Sequence[Mapping[int, Any]]
    changed: Mapping[int, Mapping[str, int]]
    sources: Mapping[str, SourceCounts]
    left_alone: Counter[str] = field(default_factory=Counter)

    def repeating(self, row: int, doc_id: str, source: str, reason: str, detail: str) -> Dropped:
        """A row of `documents` that is dropped all the same."""
        text = self.documents.column("text")[row].as_py()
        return _dropped(self.places[row], doc_id, source, reason, detail, text)


def judged(content: bytes, config: FilterConfig, quality: QualityJudge | None) -> Judged:
    """By the changes and the document filters of the registry, and last by the quality of what these leave. `content`
    are `packed` rows of kind document."""
    ids, sources, texts = (column.to_pylist() for column in unpacked(content).columns)
    batch = mended(ids, texts, config)
    verdicts, left_alone = _verdicts(batch, config, quality)
    left = [index for index in range(len(batch)) if index not in verdicts]
    counted: dict[str, SourceCounts] = {}
    for source, text, now in zip(sources, texts, batch.texts, strict=True):
        counted.setdefault(file_in(source), SourceCounts()).keep(len(text), len(now))
    rows = {index: row for row, index in enumerate(left)}
    return Judged(
        documents=pa.table(
            [[column[index] for index in left] for column in (ids, sources, batch.texts)],
            schema=row_kind("document").schema,
        ),
        places=left,
        dropped=[
            _dropped(index, ids[index], sources[index], *verdicts[index], batch.texts[index])
            for index in sorted(verdicts)
        ],
        marks=[
            {rows[index]: mark for index, mark in each.marks(batch, left, config).items()} for each in CORPUS_FILTERS
        ],
        changed={row: batch.found[index] for row, index in enumerate(left) if batch.found[index]},
        sources=counted,
        left_alone=left_alone,
    )


def mended(ids: Sequence[str], rows: Sequence[str], config: FilterConfig) -> Batch:
    """The documents with all changes. What is too long to stay is not touched: mending takes time by the character."""
    texts, found = list[str](), list[dict[str, int]]()
    for text in rows:
        changed: dict[str, int] = {}
        if len(text) <= config.max_characters:
            for each in CHANGES:
                text, what = each.change(text, config)
                changed.update(what)
        texts.append(text)
        found.append(changed)
    return Batch(ids, texts, found, config.sample_characters)


def _verdicts(
    batch: Batch, config: FilterConfig, quality: QualityJudge | None
) -> tuple[dict[int, tuple[str, str]], Counter[str]]:
    """Reason and detail of those that some rule drops; the quality of the others is judged last. Also the languages of
    those of which that could not be judged."""
    verdicts: dict[int, tuple[str, str]] = {}
    for each in DOCUMENT_FILTERS:
        for rule in each.rules(batch, config):
            for index in np.flatnonzero(rule.drops).tolist():
                if index not in verdicts:
                    verdicts[index] = (rule.reason, rule.detail(index))
    if quality is None:
        return verdicts, Counter()
    found, left_alone = quality.drops(batch, [index for index in range(len(batch)) if index not in verdicts])
    return verdicts | {index: (LOW_QUALITY, detail) for index, detail in found.items()}, left_alone


def _dropped(place: int, doc_id: str, source: str, reason: str, detail: str, text: str) -> Dropped:
    return Dropped(place, doc_id, source, reason, detail, text[:_EXAMPLE_CHARACTERS], len(text))
