"""What became of the documents of a corpus, counted: of all, and of each file."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from data_store.corpus.registry import CHANGED, REASONS

_MOST_SOURCES = 200
OTHER_SOURCES = "other files"
MENDED = "mended"
EXAMPLES_A_REASON = 20


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

    def keep(self, characters: int, mended_characters: int) -> None:
        """One more document, which stays unless it is dropped."""
        self.documents += 1
        self.characters += characters
        self.mended_characters += mended_characters
        self.kept += 1
        self.kept_characters += mended_characters

    def drop(self, reason: str, mended_characters: int) -> None:
        """One of those that stay does not."""
        self.kept -= 1
        self.kept_characters -= mended_characters
        self.dropped[reason] += 1
        self.dropped_characters[reason] += mended_characters

    def add(self, other: "SourceCounts") -> None:
        """Those of later documents of the file."""
        self.documents += other.documents
        self.characters += other.characters
        self.mended_characters += other.mended_characters
        self.kept += other.kept
        self.kept_characters += other.kept_characters
        self.dropped.update(other.dropped)
        self.dropped_characters.update(other.dropped_characters)

    def stages(self, reasons: Iterable[str]) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
        """(stage, documents before and after, characters before and after): mending, then each of all reasons, in the
        order in which they are asked."""
        documents, characters = self.documents, self.mended_characters
        yield MENDED, (documents, documents), (self.characters, characters)
        for reason in reasons:
            left = documents - self.dropped[reason], characters - self.dropped_characters[reason]
            yield reason, (documents, left[0]), (characters, left[1])
            documents, characters = left


class Dropped(NamedTuple):
    """A dropped document: where it stands among those that came with it, its id and source, why, how it begins, mended
    and masked, and how many characters it has then."""

    place: int
    doc_id: str
    source: str
    reason: str
    detail: str
    beginning: str
    characters: int


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
    documents of each reason; `left_alone` counts, by language, those that no classifier of quality was there for.
    """

    documents: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    changed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANGED, 0))
    sources: dict[str, SourceCounts] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    left_alone: Counter[str] = field(default_factory=Counter)

    def add(self, sources: Mapping[str, SourceCounts], dropped: Sequence[Dropped], changed: Mapping[str, int]) -> None:
        """Some more documents: `sources`, by file, count all of them as kept; of these `dropped` are not, in the order
        of the corpus. `changed` is of those that are."""
        for each in dropped:
            sources[file_in(each.source)].drop(each.reason, each.characters)
            self.dropped[each.reason] += 1
            if self.dropped[each.reason] <= EXAMPLES_A_REASON:
                self.examples.append(Example(*each[1:-1]))
        for file, of in sources.items():
            if len(self.sources) < _MOST_SOURCES:
                self.sources.setdefault(file, SourceCounts())
            self.sources.setdefault(file if file in self.sources else OTHER_SOURCES, SourceCounts()).add(of)
            self.documents += of.documents
            self.kept += of.kept
        for what, often in changed.items():
            self.changed[what] += often


def file_of(source: str, known: Container[str]) -> str:
    """The file that a document is counted under, by its source: `other files` beyond the first 200."""
    file = file_in(source)
    return file if file in known else OTHER_SOURCES


def file_in(source: str) -> str:
    """The file that a source names, with or without a row."""
    return source.rpartition(":")[0] or source
