"""The corpus filter: every dropped document has one named, counted reason.

Documents go through in their order, some at a time: mended, judged by themselves, compared with those that were kept.
Of the reasons (data_store/corpus/registry.py) the first that applies counts. The result depends on the input and config
alone, not on how much is held at once, nor on how many processes judge.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pyarrow as pa

from data_store.corpus.counts import Dropped, FilterCounts
from data_store.corpus.filter import Comparison
from data_store.corpus.groups import groups, packed
from data_store.corpus.judged import Judged, judged
from data_store.corpus.processes import in_order
from data_store.corpus.quality import QualityJudge
from data_store.corpus.registry import CORPUS_FILTERS, REASONS, WITH_QUALITY, FilterConfig
from data_store.errors import InputError
from data_store.rows import row_kind

_BYTES_A_CHARACTER = 160
"""Of a document at hand: its text three times, and the numbers that are made of it."""
MEMORY_A_PROCESS = 64
"""Of `memory_mb`, that it is worth having one more: with less, the documents at hand are so few that what a group of
them costs beside its documents counts."""
MOST_OF_USE = 8
"""Of more than these the one that compares cannot keep up: it has a fifth to an eighth of the work (docs/log.md)."""
Write = Callable[[pa.Table, pa.Table], None]


def processes_for(wanted: int | None, config: FilterConfig) -> int:
    """How many processes judge documents: as many as are wanted, else one for each processor that this process may use,
    as far as they are of use and `memory_mb` is enough for all of them."""
    if wanted is not None:
        return wanted
    return max(1, min(len(os.sched_getaffinity(0)), MOST_OF_USE, config.memory_mb // MEMORY_A_PROCESS))


def group_characters(config: FilterConfig, processes: int) -> int:
    """How many characters of documents are judged together."""
    return max(1, 2 * _share(config) // _BYTES_A_CHARACTER // processes)


def _share(config: FilterConfig) -> int:
    """Bytes: two of the four that there are, for the documents at hand; one for each of two indexes of kept ones."""
    return config.memory_mb * 1_000_000 // 4


def filter_documents(
    documents: Iterable[pa.RecordBatch],
    config: FilterConfig,
    write: Write,
    quality: QualityJudge | None = None,
    processes: int = 1,
    folder: Path | None = None,
) -> FilterCounts:
    """Filter a corpus.

    Args:
        documents: rows of kind document, in batches that fit into memory (see `read_documents`).
        config: what to keep.
        write: is given kept rows of kind document and rows of kind dropped, in their first order, as they come.
        quality: who is asked of those that no rule drops by itself, before they are compared with others.
        processes: so many judge documents side by side, beside this one, which compares them; 1: this one does all. Of
            more than one, each must find that this one has used one thread of torch at the most.
        folder: what does not stay in memory lies below it meanwhile; None: where the system has such files.

    Raises:
        InputError: the rows are not of kind document, or nothing is kept; the message then gives the counts.
        RuntimeError: one of the processes was killed.
    """
    counts = FilterCounts(dropped=dict.fromkeys(REASONS if quality is None else WITH_QUALITY, 0))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halter-filter-", dir=folder)))
        given = map(packed, groups(documents, group_characters(config, processes)))
        judge = partial(judged, config=config, quality=quality)
        found = stack.enter_context(closing(in_order(judge, given, processes, scratch)))
        comparisons = [each.comparison(config, scratch, _share(config)) for each in CORPUS_FILTERS]
        for comparison in comparisons:
            stack.enter_context(closing(comparison))
        for each in found:
            write(*_compared(each, comparisons, counts))
    if not counts.kept:
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.dropped.items() if count)
        raise InputError(
            f"the corpus filter kept none of {counts.documents} documents ({listed or 'there were none'}); "
            "look at the dropped rows and loosen the filter's config"
        )
    return counts


def _compared(of: Judged, comparisons: Sequence[Comparison], counts: FilterCounts) -> tuple[pa.Table, pa.Table]:
    """What is kept of some documents, and what is dropped, when those that are good by themselves are compared with
    what was kept before."""
    ids, sources = (of.documents.column(name).to_pylist() for name in ("doc_id", "source"))
    dropped, kept = list(of.dropped), list[int]()
    changed = Counter[str]()
    for row, (doc_id, source) in enumerate(zip(ids, sources, strict=True)):
        if repeated := _repeated(of, row, comparisons):
            dropped.append(of.repeating(row, doc_id, source, *repeated))
            continue
        kept.append(row)
        if row in of.changed:
            changed.update(of.changed[row])
        for comparison, marks in zip(comparisons, of.marks, strict=True):
            if row in marks:
                comparison.keep(doc_id, marks[row])
    dropped.sort(key=lambda each: each.place)
    counts.add(of.sources, dropped, changed)
    counts.left_alone.update(of.left_alone)
    return of.documents.take(pa.array(kept, pa.int64())), _rows(dropped)


def _repeated(of: Judged, row: int, comparisons: Sequence[Comparison]) -> tuple[str, str] | None:
    """Reason and detail of the first filter of the corpus that drops it; None where none does."""
    for each, comparison, marks in zip(CORPUS_FILTERS, comparisons, of.marks, strict=True):
        if row in marks and (detail := comparison.repeats(marks[row])):
            (reason,) = each.reasons
            return reason, detail
    return None


def _rows(dropped: Sequence[Dropped]) -> pa.Table:
    columns = ("doc_id", "source", "reason", "detail")
    return pa.table([[getattr(each, name) for each in dropped] for name in columns], schema=row_kind("dropped").schema)
