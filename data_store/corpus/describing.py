"""What a corpus is made of: languages, pronouns and words for groups of people (Llama 2, section 4.1 with tables 9 and
10), counted over a sample of its documents."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_store.corpus.batch import Batch
from data_store.corpus.language import likeliest
from data_store.corpus.words import Words

TERMS_FILE = Path(__file__).with_name("terms.json")
SURE = 0.5
"""What the classifier must give to a language, else it is unknown (table 10)."""
ALL_FILES = ""
ANY = ""
"""The name of a share that stands for its whole axis."""
_HANGUL = re.compile("[가-힣]")
_HANGUL_WORD = re.compile("[가-힣]+")
CODE, UNKNOWN = "code", "unknown"


class Word(NamedTuple):
    """A pronoun or a term: its axis and name, the words that count as it, and those in Hangul, whose words have
    endings, as beginnings of words."""

    about: str
    axis: str
    name: str
    forms: tuple[str, ...]
    beginnings: tuple[str, ...]


@cache
def listed_words() -> tuple[Word, ...]:
    """All that are looked for (terms.json), each axis behind its words under the name `ANY`."""
    found = []
    for about, axes in json.loads(TERMS_FILE.read_text(encoding="utf-8")).items():
        for axis, names in axes.items():
            for name, forms in (*names.items(), (ANY, [form for each in names.values() for form in each])):
                hangul = tuple(dict.fromkeys(form for form in forms if _HANGUL.match(form)))
                plain = tuple(dict.fromkeys(form for form in forms if form not in hangul))
                found.append(Word(about, axis, name, plain, hangul))
    return tuple(found)


def language_in(batch: Batch, document: int) -> str:
    """The language that a document counts as, in tables, for what learns from it and for what is judged: the likeliest
    by fastText's lid.176, `code` for program text, `unknown` below a probability of .5."""
    if batch.is_code[document]:
        return CODE
    language, score = likeliest(batch, document)[0]
    return language if score >= SURE else UNKNOWN


def words_in(batch: Batch) -> npt.NDArray[np.bool_]:
    """(documents, `listed_words()`): whether the sample of a document holds one of the forms of a word."""
    listed = listed_words()
    forms = sorted({form for word in listed for form in word.forms})
    hashes = Words(forms).hashes
    order = np.argsort(hashes)
    words = batch.words
    place = np.minimum(np.searchsorted(hashes[order], words.hashes), len(forms) - 1)
    is_form = hashes[order][place] == words.hashes
    document = np.repeat(np.arange(len(batch)), np.diff(words.bounds))
    holds = np.zeros((len(batch), len(forms)), np.bool_)
    holds[document[is_form], order[place[is_form]]] = True
    columns = {form: number for number, form in enumerate(forms)}
    found = np.zeros((len(batch), len(listed)), np.bool_)
    for number, word in enumerate(listed):
        found[:, number] = holds[:, [columns[form] for form in word.forms]].any(axis=1)
    for index, sample in enumerate(batch.samples):
        found[index, list(_begun(sample))] = True
    return found


@cache
def _beginnings() -> dict[str, tuple[int, ...]]:
    """The beginnings of words in Hangul → the places of the words that they count as."""
    found: dict[str, list[int]] = {}
    for number, word in enumerate(listed_words()):
        for beginning in word.beginnings:
            found.setdefault(beginning, []).append(number)
    return {beginning: tuple(numbers) for beginning, numbers in found.items()}


def _begun(sample: str) -> set[int]:
    """The places of what words in Hangul begin with."""
    known = _beginnings()
    lengths = sorted({len(beginning) for beginning in known})
    heads = {word[:length] for word in set(_HANGUL_WORD.findall(sample)) for length in lengths}
    return {number for head in heads & known.keys() for number in known[head]}


class Shares:
    """Counts over documents as they come, of all files and of each: how many documents were looked at, and in how many
    of them a language, a pronoun or a term was found."""

    def __init__(self) -> None:
        self.sampled = Counter[str]()
        self.found = Counter[tuple[str, str, str, str]]()

    def add(self, batch: Batch, files: Sequence[str]) -> None:
        """Some more documents, and the file of each."""
        holds, listed = words_in(batch), listed_words()
        for index, file in enumerate(files):
            language = language_in(batch, index)
            names = [(word.about, word.axis, word.name) for word in _chosen(listed, holds[index])]
            for of in (ALL_FILES, file):
                self.sampled[of] += 1
                self.found[of, "language", "", language] += 1
                self.found.update((of, *name) for name in names)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of kind corpus_share. Of all files also what was never found; of a single file what was."""
        never = {(ALL_FILES, word.about, word.axis, word.name): 0 for word in listed_words()}
        for (file, about, axis, name), documents in sorted({**never, **self.found}.items()):
            yield {
                "source": file,
                "about": about,
                "axis": axis,
                "name": name,
                "documents": documents,
                "sampled": self.sampled[file],
            }


def _chosen(listed: Iterable[Word], holds: npt.NDArray[np.bool_]) -> Iterator[Word]:
    return (word for word, is_there in zip(listed, holds.tolist(), strict=True) if is_there)
