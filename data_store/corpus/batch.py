"""Some documents at a time, with the measures that several filters share: an entry a document in each array."""

from collections.abc import Sequence
from functools import cached_property
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_store.corpus.signs import JAMO, LETTERS, MARK, N_SORTS, NUMBER, SPACE, SYMBOL, code_points, sorts_of
from data_store.corpus.words import Lines, Numbers, Words

_CODE_LINE = (
    r"(?m)^[ \t]*(?:(?:def|class|elif|except|while|for|with|if|async|switch|fn|func|struct|enum)\b.*[:{(,\\]\s*$"
    r"|(?:import|from)\s+[\w.]+(?:\s+import\b.*|\s+as\s+\w+|,.*|;)?\s*$|(?:return|raise|yield|del|assert|pass|break)\b.*$"
    r"|(?:try|else|finally):|@\w+|#|//|/\*|\*/|(?:public|private|protected|static|const|let|var|function)\s"
    r"|[\w.\[\]\"']+(?:, ?[\w.]+)*\s*[-+*/|&]?=[^=].*$|[\w.]+\(.*\)?,?\s*$|[)\]}]+[,;]?\s*$|.*[;{}]\s*$)"
)
_LINE = r"(?m)^.*\S.*$"
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Batch:
    """Documents on their way through the filters, mended and masked, each with a sample of it: its beginning.

    `found` is what was changed in each: how often, by the word for it. `languages` is what the classifier of languages
    has said of those that it was asked about.
    """

    def __init__(
        self, ids: Sequence[str], texts: Sequence[str], found: Sequence[dict[str, int]], sample_characters: int
    ) -> None:
        self.ids, self.texts, self.found = ids, texts, found
        self.samples = [text[:sample_characters] for text in texts]
        self.languages: dict[int, Sequence[tuple[str, float]]] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def count(self, pattern: str, *, lower: bool = False) -> Numbers:
        """How often an expression of RE2 is found in each sample, in linear time; `lower`: with all capitals made
        small."""
        return _counted(self._lower if lower else self._arrow, pattern)

    @cached_property
    def _arrow(self) -> pa.Array:
        written = [sample.encode("utf-8", "replace") for sample in self.samples]
        ends = np.cumsum([0, *map(len, written)], dtype=np.int64)
        return pa.LargeStringArray.from_buffers(len(written), pa.py_buffer(ends), pa.py_buffer(b"".join(written)))

    @cached_property
    def _lower(self) -> pa.Array:
        return pc.utf8_lower(self._arrow)

    @cached_property
    def words(self) -> Words:
        """The words of the samples, in lower case and composed (NFC)."""
        return Words(self._plain)

    @cached_property
    def lines(self) -> Lines:
        """The lines of these words."""
        return Lines(self.words)

    @cached_property
    def _plain(self) -> list[str]:
        return [plain(sample) for sample in self.samples]

    def plain_text(self, document: int) -> str:
        """The whole text as texts are compared."""
        text = self.texts[document]
        return self._plain[document] if len(self.samples[document]) == len(text) else plain(text)

    @cached_property
    def _signs(self) -> tuple[npt.NDArray[np.int64], Numbers]:
        """(documents, sorts of signs) counts, and the longest run of one letter or digit.

        A run of one and the same sign that is neither letter nor digit counts once: ruled lines and rows of hearts are
        layout.
        """
        counts = np.zeros((len(self), N_SORTS), np.int64)
        longest = np.zeros(len(self), np.int64)
        for index, sample in enumerate(self.samples):
            points = code_points(sample)
            if not len(points):
                continue
            sorts = sorts_of(points)
            same = np.flatnonzero(points[1:] == points[:-1]) + 1  # as the sign before
            of = sorts[same]
            counts[index] = np.bincount(sorts, minlength=N_SORTS) - np.bincount(of[~_TEXT[of]], minlength=N_SORTS)
            if counts[index, _RUNS].any():
                longest[index] = 1 + _longest_stretch(same[_RUNS[of]])
        return counts, longest

    def signs(self, *sorts: int) -> Numbers:
        """How many signs of these sorts (data_store/corpus/signs.py)."""
        found: Numbers = self._signs[0][:, sorts].sum(axis=1)
        return found

    @cached_property
    def characters(self) -> Numbers:
        """Of the whole text."""
        return np.array([len(text) for text in self.texts], np.int64)

    @cached_property
    def letters(self) -> Numbers:
        """Letters and marks."""
        return self.signs(*LETTERS, MARK)

    @cached_property
    def symbols(self) -> Numbers:
        """Signs that are neither letter, digit, white space nor the punctuation of prose."""
        return self.signs(SYMBOL)

    @cached_property
    def seen(self) -> Numbers:
        """Signs but for white space, at least 1."""
        found: Numbers = np.maximum(self._signs[0].sum(axis=1) - self.signs(SPACE), 1)
        return found

    @cached_property
    def longest_run(self) -> Numbers:
        """Of one and the same letter or digit. Single letters of Hangul are none: they laugh and cry."""
        return self._signs[1]

    @cached_property
    def n_words(self) -> Numbers:
        """Words, fair to scripts: Han signs and kana are a word each, and a group of Hangul between blanks is one for
        two of its syllables, rounded up, and one more for a number or a Latin name that is written onto them (`40년`,
        `DVD가`). Single letters of Hangul are none."""
        words = self.words
        of_hangul = (words.syllables + 1) // 2 + words.is_mixed
        worth = np.where(words.syllables > 0, of_hangul, ~words.is_jamo)
        total = np.concatenate(([0], np.cumsum(worth)))
        counted: Numbers = np.diff(total[words.bounds])
        return counted

    @cached_property
    def said(self) -> Numbers:
        """The words, at least 1."""
        return np.maximum(self.n_words, 1)

    @cached_property
    def n_lines(self) -> Numbers:
        """Lines that are not blank."""
        return self.count(_LINE)

    @cached_property
    def is_code(self) -> Flags:
        """Three lines and more, two in five of which look like source code, or two lines that both do."""
        of_code = self.count(_CODE_LINE)
        found: Flags = ((self.n_lines >= 3) & (of_code >= 0.4 * self.n_lines)) | ((self.n_lines == 2) & (of_code == 2))
        return found


def plain(text: str) -> str:
    """In lower case and composed (NFC), as texts are compared."""
    return normalize("NFC", text.lower())


def _longest_stretch(numbers: Numbers) -> int:
    """How many of the rising numbers follow each other without a gap, at most."""
    ends = np.flatnonzero(np.diff(numbers, append=-1) != 1)
    return int(np.diff(ends, prepend=-1).max(initial=0))


def _counted(texts: pa.Array, pattern: str) -> Numbers:
    found: Numbers = pc.count_substring_regex(texts, pattern).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _flags(*sorts: int) -> Flags:
    found = np.zeros(N_SORTS, np.bool_)
    found[list(sorts)] = True
    return found


_TEXT = _flags(*LETTERS, MARK, NUMBER, SPACE)
_RUNS = _flags(*(sort for sort in LETTERS if sort != JAMO), NUMBER)
