"""The corpus filter: every dropped document has one named, counted reason.

Documents go through in their order, some at a time: mended, judged by themselves, compared with those that were kept.
Of the reasons (data_store/corpus/registry.py) the first that applies counts. The result depends on the input and config
alone, not on how much is held at once.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_store.corpus.batch import Batch
from data_store.corpus.filter import Comparison
from data_store.corpus.quality import LOW_QUALITY, QualityJudge
from data_store.corpus.registry import (
    CHANGED,
    CHANGES,
    CORPUS_FILTERS,
    DOCUMENT_FILTERS,
    REASONS,
    WITH_QUALITY,
    FilterConfig,
)
from data_store.errors import InputError
from data_store.rows import row_kind

_BYTES_A_CHARACTER = 160
"""Of a document at hand: its text three times, and the numbers that are made of it."""
Write = Callable[[pa.Table, pa.Table], None]


_MOST_SOURCES = 200
OTHER_SOURCES = "other files"
MENDED = "mended"
EXAMPLES_A_REASON = 20
_EXAMPLE_CHARACTERS = 300


@dataclass
class SourceCounts:
    """What became of the documents of one file: how many, their characters as they were read and as they were mended,
    what was kept, and how many were dropped for each reason, with their characters as mended."""

    documents: int = 0
    characters: int = 0
    mended_characters: int = 0
    kept: int = 0
    kept_characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_characters: Counter[str] = field(default_factory=Counter)

    def stages(self, reasons: Iterable[str]) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
        """(stage, documents before and after, characters before and after): mending, then each of all reasons, in the
        order in which they are asked."""
        documents, characters = self.documents, self.mended_characters
        yield MENDED, (documents, documents), (self.characters, characters)
        for reason in reasons:
            left = documents - self.dropped[reason], characters - self.dropped_characters[reason]
            yield reason, (documents, left[0]), (characters, left[1])
            documents, characters = left


@dataclass(frozen=True)
class Example:
    """A dropped document: its id and source, why, and how it begins, mended and masked."""

    doc_id: str
    source: str
    reason: str
    detail: str
    beginning: str


@dataclass
class FilterCounts:
    """How many documents there were and stayed, were dropped for each reason, and how often what was changed in those
    that stayed. Every reason and every change is named, also those that never happened.

    `sources` tells the same of each of the first 200 files, and of all others together; `examples` are the first 20
    documents of each reason.
    """

    documents: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    changed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANGED, 0))
    sources: dict[str, SourceCounts] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def add(self, rows: "_Rows", batch: Batch, verdicts: Mapping[int, tuple[str, str]]) -> None:
        """Count some documents, of which `verdicts` has the dropped ones."""
        for index, (source, text) in enumerate(zip(rows.sources, rows.texts, strict=True)):
            if len(self.sources) < _MOST_SOURCES:
                self.sources.setdefault(_file(source), SourceCounts())
            of = self.sources.setdefault(file_of(source, self.sources), SourceCounts())
            self.documents += 1
            of.documents += 1
            of.characters += len(text)
            of.mended_characters += len(batch.texts[index])
            if index not in verdicts:
                self.kept += 1
                of.kept += 1
                of.kept_characters += len(batch.texts[index])
                for what, often in batch.found[index].items():
                    self.changed[what] += often
                continue
            reason, detail = verdicts[index]
            self.dropped[reason] += 1
            of.dropped[reason] += 1
            of.dropped_characters[reason] += len(batch.texts[index])
            if self.dropped[reason] <= EXAMPLES_A_REASON:
                beginning = batch.texts[index][:_EXAMPLE_CHARACTERS]
                self.examples.append(Example(rows.ids[index], source, reason, detail, beginning))


def file_of(source: str, known: Container[str]) -> str:
    """The file that a document is counted under, by its source: `other files` beyond the first 200."""
    file = _file(source)
    return file if file in known else OTHER_SOURCES


def _file(source: str) -> str:
    return source.rpartition(":")[0] or source


@dataclass(frozen=True)
class _Rows:
    """Documents as they come in."""

    ids: Sequence[str]
    sources: Sequence[str]
    texts: Sequence[str]


def filter_documents(
    documents: Iterable[pa.RecordBatch], config: FilterConfig, write: Write, quality: QualityJudge | None = None
) -> FilterCounts:
    """Filter a corpus.

    Args:
        documents: rows of kind document, in batches that fit into memory (see `read_documents`).
        config: what to keep.
        write: is given kept rows of kind document and rows of kind dropped, in their first order, as they come.
        quality: who is asked of those that no rule drops by itself, before they are compared with others.

    Raises:
        InputError: the rows are not of kind document, or nothing is kept; the message then gives the counts.
    """
    counts = FilterCounts(dropped=dict.fromkeys(REASONS if quality is None else WITH_QUALITY, 0))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halter-filter-")))
        share = config.memory_mb * 1_000_000 // 4
        comparisons = [each.comparison(config, scratch, share) for each in CORPUS_FILTERS]
        for comparison in comparisons:
            stack.enter_context(closing(comparison))
        for rows in _groups(documents, 2 * share // _BYTES_A_CHARACTER):
            batch = mended(rows.ids, rows.texts, config)
            write(*_filtered(rows, batch, _judged(batch, config, quality), comparisons, counts))
    if not counts.kept:
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.dropped.items() if count)
        raise InputError(
            f"the corpus filter kept none of {counts.documents} documents ({listed or 'there were none'}); "
            "look at the dropped rows and loosen the filter's config"
        )
    return counts


def _filtered(
    rows: _Rows,
    batch: Batch,
    verdicts: dict[int, tuple[str, str]],
    comparisons: Sequence[Comparison],
    counts: FilterCounts,
) -> tuple[pa.Table, pa.Table]:
    """What is kept of some documents, and what is dropped: `verdicts` say why of those that are no good by themselves,
    and the others are compared with what was kept before."""
    left = [index for index in range(len(batch)) if index not in verdicts]
    for comparison in comparisons:
        comparison.prepare(batch, left)
    for index in left:
        for each, comparison in zip(CORPUS_FILTERS, comparisons, strict=True):
            if detail := comparison.repeats(index):
                (reason,) = each.reasons
                verdicts[index] = (reason, detail)
                break
        else:
            for comparison in comparisons:
                comparison.keep(index)
    kept = [index for index in left if index not in verdicts]
    counts.add(rows, batch, verdicts)
    return (
        pa.table(
            [[column[index] for index in kept] for column in (rows.ids, rows.sources, batch.texts)],
            schema=row_kind("document").schema,
        ),
        pa.table(
            [
                [rows.ids[index] for index in sorted(verdicts)],
                [rows.sources[index] for index in sorted(verdicts)],
                *([verdicts[index][part] for index in sorted(verdicts)] for part in (0, 1)),
            ],
            schema=row_kind("dropped").schema,
        ),
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


def _judged(batch: Batch, config: FilterConfig, quality: QualityJudge | None) -> dict[int, tuple[str, str]]:
    """Reason and detail of those that some rule drops; the quality of the others is judged last."""
    verdicts: dict[int, tuple[str, str]] = {}
    for each in DOCUMENT_FILTERS:
        for rule in each.rules(batch, config):
            for index in np.flatnonzero(rule.drops).tolist():
                if index not in verdicts:
                    verdicts[index] = (rule.reason, rule.detail(index))
    if quality is not None:
        left = [index for index in range(len(batch)) if index not in verdicts]
        verdicts |= {index: (LOW_QUALITY, detail) for index, detail in quality.drops(batch, left).items()}
    return verdicts


def _groups(documents: Iterable[pa.RecordBatch], most_characters: int) -> Iterator[_Rows]:
    """The rows in groups of so many characters, or of one document that has more."""
    ids, sources, texts, characters = list[str](), list[str](), list[str](), 0
    for doc_id, source, text in _checked(documents):
        if texts and characters + len(text) > most_characters:
            yield _Rows(ids, sources, texts)
            ids, sources, texts, characters = [], [], [], 0
        ids.append(doc_id)
        sources.append(source)
        texts.append(text)
        characters += len(text) + _LEAST_CHARACTERS
    if texts:
        yield _Rows(ids, sources, texts)


_LEAST_CHARACTERS = 20
"""What a document costs besides its text, as characters."""


def _checked(documents: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, str]]:
    names = row_kind("document").schema.names
    place = 0
    for batch in documents:
        if batch.schema.names != names:
            raise InputError(
                f"the corpus has the columns {', '.join(batch.schema.names)}; wanted are {', '.join(names)}"
            )
        for name, column in zip(names, batch.columns, strict=True):
            if column.null_count:
                row = place + column.is_null().to_pylist().index(True)
                raise InputError(f"row {row} of the corpus: field {name!r} is empty; fill or remove the row")
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        place += batch.num_rows
