"""The corpus filter: every dropped document has one named, counted reason. Vectorised in DuckDB SQL over Arrow.

Of the reasons (data_store/corpus/registry.py) the first that applies counts. Duplicates are looked for only among what
passed the others. The result depends on the input and config alone, not on threads or memory.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from data_store.corpus.features import DOCUMENTS, PARAMETERS, judge_each
from data_store.corpus.filter import Corpus
from data_store.corpus.registry import CORPUS_FILTERS, DOCUMENT_FILTERS, FILTERS, REASONS, FilterConfig
from data_store.errors import InputError
from data_store.rows import row_kind

_HARDENING = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET lock_configuration = true",
)
_KEPT = "SELECT doc_id, source, text FROM documents ANTI JOIN verdicts USING (place) ORDER BY place"
_DROPPED = "SELECT doc_id, source, reason, detail FROM verdicts JOIN documents USING (place) ORDER BY place"
_COUNTS = "SELECT reason, count(*) FROM verdicts GROUP BY reason"
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class FilterResult:
    """`kept` rows of kind document in their first order, `dropped` rows of kind dropped, and how many per reason."""

    kept: pa.Table
    dropped: pa.Table
    counts: dict[str, int]


def filter_documents(
    documents: pa.Table | pa.RecordBatchReader | Iterator[pa.RecordBatch],
    config: FilterConfig | None = None,
    *,
    memory_limit: str = "1GB",
    threads: int = 2,
) -> FilterResult:
    """Filter a corpus.

    Args:
        documents: rows of kind document: a table, a reader or an iterator of batches (see `read_documents`).
        config: what to keep; None takes the defaults.
        memory_limit: DuckDB's, for example "1GB"; beyond it DuckDB goes on in temporary files, removed at the end.
        threads: DuckDB's. They change the time taken, never the result.

    Returns:
        `FilterResult`; its counts name every reason, also those that dropped nothing.

    Raises:
        InputError: the rows are not of kind document, or nothing is kept; the message then gives the counts.
    """
    config = config or FilterConfig()
    with tempfile.TemporaryDirectory(prefix="halter-filter-") as scratch, duckdb.connect(":memory:") as connection:
        connection.execute("SET temp_directory = $1", [scratch])
        connection.execute("SET memory_limit = $1", [memory_limit])
        connection.execute("SET threads = $1", [threads])
        for statement in _HARDENING:
            connection.execute(statement)
        _load(connection, documents)
        _judge(connection, config)
        kept = _arrow(connection, _KEPT, "document")
        dropped = _arrow(connection, _DROPPED, "dropped")
        counts = dict.fromkeys(REASONS, 0) | dict(connection.execute(_COUNTS).fetchall())
    if not kept.num_rows:
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
        raise InputError(
            f"the corpus filter kept none of {dropped.num_rows} documents ({listed or 'there were none'}); "
            "look at the dropped rows and loosen the filter's config"
        )
    return FilterResult(kept, dropped, counts)


def _judge(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> None:
    """Fill the table verdicts: one row for each document that is to be dropped."""
    given = {**config.model_dump(), **PARAMETERS}
    for each in FILTERS:
        given |= each.parameters(config)
    corpus = Corpus(connection, given)
    judge_each(corpus, DOCUMENT_FILTERS)
    for each in CORPUS_FILTERS:
        each.drop(corpus)


def _load(
    connection: duckdb.DuckDBPyConnection, documents: pa.Table | pa.RecordBatchReader | Iterator[pa.RecordBatch]
) -> None:
    """Copy the documents into DuckDB, each with its place, so that no later step depends on the order of a scan.

    Batch by batch from here: an error of whoever makes the batches then comes out as it is, not wrapped by DuckDB.
    """
    names = row_kind("document").schema.names
    connection.execute(DOCUMENTS)
    place = 0
    for batch in documents.to_batches(_BATCH_ROWS) if isinstance(documents, pa.Table) else documents:
        if batch.schema.names != names:
            raise InputError(
                f"the corpus has the columns {', '.join(batch.schema.names)}; wanted are {', '.join(names)}"
            )
        for name, column in zip(names, batch.columns, strict=True):
            if column.null_count:
                row = place + column.is_null().to_pylist().index(True)
                raise InputError(f"row {row} of the corpus: field {name!r} is empty; fill or remove the row")
        places = pa.array(range(place, place + batch.num_rows), pa.int64())
        connection.register("batch", pa.Table.from_arrays([places, *batch.columns], names=["place", *names]))
        connection.execute("INSERT INTO documents FROM batch")
        connection.unregister("batch")
        place += batch.num_rows


def _arrow(connection: duckdb.DuckDBPyConnection, query: str, kind: str) -> pa.Table:
    # In batches: more than 2 GiB of text do not fit into one Arrow array.
    with connection.sql(query).to_arrow_reader(_BATCH_ROWS) as reader:
        return pa.Table.from_batches(reader, reader.schema).cast(row_kind(kind).schema)
