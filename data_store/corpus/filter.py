"""What a filter of the corpus is. Each is a file of this folder; data_store/corpus/registry.py names them all.

A `Change` mends a document, a `DocumentFilter` judges it by itself, a `CorpusFilter` compares it with those before it
that are kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from data_store.corpus.batch import Batch, Flags


class SampleConfig(BaseModel):
    """How much of a document is looked at. The base of every filter's config, whose fields are keys of `filter`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_characters: int = Field(
        default=20_000, ge=1000, description="The content is judged on this many characters from the start."
    )


class Change(ABC):
    """Mends documents before they are judged; `counted` are the words for what it changes, with what they mean."""

    counted: ClassVar[Mapping[str, str]]

    @abstractmethod
    def change(self, text: str, config: Any) -> tuple[str, Mapping[str, int]]:
        """The text as it is to be, and how often what was changed. It is asked of every text: the many that need
        nothing must cost little."""


@dataclass(frozen=True)
class Rule:
    """Documents that are to be dropped: for which reason, which of the batch, and what to say of one of them."""

    reason: str
    drops: Flags
    detail: Callable[[int], str]


class Filter:
    """Documents are dropped for one of its `reasons`: each a word and what it means."""

    reasons: ClassVar[Mapping[str, str]]


class DocumentFilter(Filter, ABC):
    """Judges every document by itself. Of all rules of all filters, the first that drops a document counts."""

    @abstractmethod
    def rules(self, batch: Batch, config: Any) -> Iterator[Rule]:
        """Its rules in their order, over the measures of a batch and its own (`batch.count`)."""


class Comparison(ABC):
    """Documents, by their marks, held against those that were kept before. What it remembers lies on the disk."""

    @abstractmethod
    def repeats(self, mark: Any) -> str | None:
        """What a document repeats of kept documents, as the detail of its being dropped; None keeps it."""

    @abstractmethod
    def keep(self, doc_id: str, mark: Any) -> None:
        """No filter has dropped the document that was asked about last: later ones are compared with it."""

    @abstractmethod
    def close(self) -> None:
        """Let go what it has open."""


class CorpusFilter(Filter, ABC):
    """Compares documents that no filter before has dropped with those that are kept. Marks are made by several
    processes, some documents at a time; one process compares them, in order."""

    @abstractmethod
    def marks(self, batch: Batch, documents: Sequence[int], config: Any) -> Mapping[int, Any]:
        """What is compared of each of these of the batch: it follows from the document alone, and can be pickled. One
        without a mark is not compared."""

    @abstractmethod
    def comparison(self, config: Any, folder: Path, memory_bytes: int) -> Comparison:
        """A new one, which may write into the folder and hold this many bytes."""
