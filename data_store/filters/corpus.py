"""The corpus filter: every dropped document has one named, counted reason. Vectorised in DuckDB SQL over Arrow.

The reasons, in the order in which they are asked; the first that applies counts:

    too_short, too_long   words and characters
    garbage               few letters, many symbols, one character or word over and over, unbroken strings
    other_language        another script, another language's function words, many accented letters
    boilerplate           page furniture (cookie notices, menus), or lines that stand in many documents
    personal_data         e-mail addresses, phone, id, card and account numbers
    blocked_words         sexual text, insults, slurs
    exact_duplicate       the same text but for case and white space as an earlier document
    near_duplicate        in one cluster with an earlier document, by word 5-grams

Duplicates are looked for only among what passed the reasons before. The result depends on the input and config alone,
not on threads or memory.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_store import filter_sql
from data_store.errors import InputError
from data_store.filter_words import BLOCKED_WORDS
from data_store.rows import row_kind

REASONS = (
    "too_short",
    "too_long",
    "garbage",
    "other_language",
    "boilerplate",
    "personal_data",
    "blocked_words",
    "exact_duplicate",
    "near_duplicate",
)
_BATCH_ROWS = 10_000

Language = Literal[
    "en", "de", "fr", "es", "it", "pt", "nl", "ko", "ja", "zh", "ru", "ar", "he", "el", "hi", "th", "code"
]


class FilterConfig(BaseModel):
    """What a document must be to stay in the corpus. Shares lie in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_words: int = Field(default=5, ge=0, description="Fewest words of a document.")
    max_characters: int = Field(default=1_000_000, gt=0, description="Most characters of a document.")
    sample_characters: int = Field(
        default=20_000, ge=1000, description="The content is judged on this many characters from the start."
    )
    min_letter_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Smallest share of letters among what is not white space (code: half). "
        "Fewer than 20 other signs drop nothing; ruled lines do not count.",
    )
    max_symbol_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Largest share of signs that are neither letter, digit nor punctuation (code: twice). "
        "Fewer than 10 drop nothing; ruled lines do not count.",
    )
    max_mean_word_length: float = Field(
        default=30, gt=0, description="Largest mean length of the words, in characters: beyond it are encoded blobs."
    )
    max_character_run: int = Field(
        default=25, ge=2, le=1000, description="Longest run of one and the same letter or digit."
    )
    max_word_share: float = Field(
        default=0.4, gt=0, le=1, description="Largest share of one word, in documents of 40 words and more."
    )
    languages: tuple[Language, ...] = Field(
        default=("en", "code"),
        min_length=1,
        description="Languages to keep. Scripts stand for a language: Hangul ko, kana ja, Han zh, Cyrillic ru.",
    )
    max_other_script_share: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of letters in scripts of languages that are not kept."
    )
    max_accented_share: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="Where English is the only kept language in Latin script: largest share of accented letters.",
    )
    min_other_stop_words: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of another language's function words, at least three of them, that drops a document if no "
        "kept language has as many.",
    )
    max_boilerplate_per_100_words: float = Field(
        default=6, ge=0, description="Most phrases of page furniture per 100 words; fewer than 3 drop nothing."
    )
    repeated_line_documents: int = Field(
        default=10,
        ge=2,
        description="A line of 4 words and more is repeated if it stands in this many documents of 4 lines and more.",
    )
    max_repeated_line_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of such lines' characters in a document.",
    )
    max_personal_per_100_words: float = Field(
        default=4, ge=0, description="Most pieces of personal data per 100 words; fewer than 3 drop nothing."
    )
    blocked_words: tuple[str, ...] = Field(default=BLOCKED_WORDS, description="Single words, in lower case.")
    max_blocked_per_100_words: float = Field(
        default=2, ge=0, description="Most blocked words per 100 words; a single one drops nothing."
    )
    near_duplicate_min_words: int = Field(
        default=40, ge=5, description="Near duplicates are looked for among documents of this many words and more."
    )
    near_duplicate_similarity: float = Field(
        default=0.5, gt=0, le=1, description="Smallest Jaccard similarity of two documents' word 5-grams."
    )

    @field_validator("blocked_words")
    @classmethod
    def _single_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not word or word != word.lower() or any(sign.isspace() for sign in word):
                raise ValueError(f"{word!r} is not a single word in lower case")
        return words


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
        for statement in filter_sql.HARDENING:
            connection.execute(statement)
        _load(connection, documents)
        filter_sql.judge(connection, config.model_dump())
        kept = _arrow(connection, filter_sql.KEPT, "document")
        dropped = _arrow(connection, filter_sql.DROPPED, "dropped")
        counts = dict.fromkeys(REASONS, 0) | dict(connection.execute(filter_sql.COUNTS).fetchall())
    if not kept.num_rows:
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
        raise InputError(
            f"the corpus filter kept none of {dropped.num_rows} documents ({listed or 'there were none'}); "
            "look at the dropped rows and loosen the filter's config"
        )
    return FilterResult(kept, dropped, counts)


def _load(
    connection: duckdb.DuckDBPyConnection, documents: pa.Table | pa.RecordBatchReader | Iterator[pa.RecordBatch]
) -> None:
    """Copy the documents into DuckDB, each with its place, so that no later step depends on the order of a scan.

    Batch by batch from here: an error of whoever makes the batches then comes out as it is, not wrapped by DuckDB.
    """
    names = row_kind("document").schema.names
    connection.execute(filter_sql.DOCUMENTS)
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
