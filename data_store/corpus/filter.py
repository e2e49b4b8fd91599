"""What a filter of the corpus is: of single documents, or of all that are left. Each is a file of this folder;
data_store/corpus/registry.py names them all.

SQL that a filter gives may use the fields of its config, and what `parameters` adds, as $name.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import duckdb
from pydantic import BaseModel, ConfigDict, Field

from data_store.results import first_row


class SampleConfig(BaseModel):
    """How much of a document is looked at. The base of every filter's config, whose fields are keys of `filter`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_characters: int = Field(
        default=20_000, ge=1000, description="The content is judged on this many characters from the start."
    )


class Corpus:
    """The documents in DuckDB, on their way through the filters.

    Tables: documents(place, doc_id, source, text), word_counts(place, word, n: of the sample's normalised words),
    features(place, one column per measure), verdicts(place, reason, detail).
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
        self._connection, self._parameters = connection, parameters

    def execute(self, statement: str) -> None:
        """Run a statement with those of the parameters that it names."""
        self._connection.execute(statement, self._named(statement))

    def first_row(self, query: str) -> tuple[Any, ...] | None:
        """The first row of a query that names no parameter."""
        return first_row(self._connection, query)

    def _named(self, statement: str) -> dict[str, Any]:
        return {name: value for name, value in self._parameters.items() if re.search(rf"\${name}\b", statement)}


class Filter:
    """Documents are dropped for one of its `reasons`: each a word and what it means."""

    reasons: ClassVar[Mapping[str, str]]

    def parameters(self, config: Any) -> Mapping[str, Any]:
        """What its SQL needs beside the fields of its config."""
        return {}


class DocumentFilter(Filter):
    """Judges every document by itself, all such filters in one pass: the first rule that holds counts.

    `rules` are (reason, condition, detail) in SQL over the shared measures (data_store/corpus/features.py) and its
    own: `of_sample` by name, over the columns `text` and `sample` of a document; `of_words`, aggregates over `word` and
    `n` (0 where there is no word); and all columns of `tables`, queries that give a row per `place` or none.
    """

    rules: ClassVar[tuple[tuple[str, str, str], ...]]
    of_sample: ClassVar[Mapping[str, str]] = {}
    of_words: ClassVar[Mapping[str, str]] = {}
    tables: ClassVar[Mapping[str, str]] = {}


class CorpusFilter(Filter, ABC):
    """Compares the documents that no filter before has dropped."""

    @abstractmethod
    def drop(self, corpus: Corpus) -> None:
        """Add rows to the table verdicts. A fixed number of statements, whatever the corpus' size."""
