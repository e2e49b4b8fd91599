"""Texts whose language is known by the folder that they lie in: translated manual pages and messages of programs.

Paragraphs have 300 characters and more, messages 20 to 100. A label is a folder's, so what is plainly no text of its
language is left out: texts in which 15 % of the words and more are English function words and no letter lies beyond
ASCII, texts with few letters, and those with many signs of program text.
"""

import gettext
import gzip
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_store.corpus.batch import Batch
from data_store.corpus.words import hashes_of, is_among

_LONG, _SHORTEST, _SHORT = 300, 20, 100
_ESCAPE = re.compile(r"\\(?:f(?:\[\w*\]|\(\w\w|\w)|s[+-]?\d+|[&|/,%c^]|\*(?:\[\w*\]|\(\w\w|\w)|-)")
_NAMED = re.compile(r"\\(?:\[\w+\]|\(\w\w)")
_PLACE = re.compile(
    r"%[-+ #0-9.]*(?:l{1,2}|z|h)?[a-zA-Z]|%%|%\([^)]*\)\w|\{[^{}]*\}|\$\{?\w+\}?|<[^<>]*>|\([_&]?\w\)|[_&~]|\\[nt]"
)
_SIGNS = re.compile(r"[\[\]{}<>()=|\\/*#_@$^~`]")
_ENGLISH = tuple(
    "the of and to in is that it for was on are as with be this have from or by not you if can".split()  # noqa: SIM905
)


def manual_pages(folder: Path) -> Iterator[tuple[str, str]]:
    """(language, paragraph) of the pages in FOLDER/LANGUAGE/man*; those in FOLDER/man* are English."""
    for page in sorted(folder.glob("man*/*.gz")):
        yield from (("en", each) for each in _paragraphs(page))
    for page in sorted(folder.glob("[a-z][a-z]*/man*/*.gz")):
        name = page.parents[1].name
        if not name.startswith("man"):
            yield from ((_code(name), each) for each in _paragraphs(page))


def messages(folder: Path) -> Iterator[tuple[str, str]]:
    """(language, message) of the translated messages in FOLDER, and those that they translate as English."""
    seen: set[str] = set()
    for path in sorted(folder.rglob("LC_MESSAGES/*.mo")):
        locale = path.parents[1].name
        if locale.startswith("en") or "." in locale or "iso" in path.name:
            continue
        for written, said in _catalog(path):
            for language, text in (("en", written), (_code(locale), said)):
                text = " ".join(_PLACE.sub(" ", text).split())
                if text not in seen and text and written != said:
                    seen.add(text)
                    yield language, text


def joined(texts: Sequence[tuple[str, str]], seed: int) -> Iterator[tuple[str, str]]:
    """Messages of one language put together in an order drawn from the seed, until they are a paragraph: in their own
    order, which is the alphabet's, one begins like the next."""
    waiting: dict[str, list[str]] = {}
    for language, text in random.Random(seed).sample(texts, len(texts)):
        parts = waiting.setdefault(language, [])
        parts.append(text)
        if sum(map(len, parts)) >= _LONG:
            yield language, "\n".join(parts)
            parts.clear()


def labelled(found: list[tuple[str, str]], *, long: bool) -> list[tuple[str, str]]:
    """Those whose label can be right, of the length that is asked for."""
    fits = [(name, text) for name, text in found if (len(text) >= _LONG if long else _SHORTEST <= len(text) <= _SHORT)]
    batch = Batch([""] * len(fits), [text for _, text in fits], [{}] * len(fits), 20_000)
    total = np.concatenate(([0], np.cumsum(is_among(batch.words.hashes, hashes_of(_ENGLISH)))))
    share = np.diff(total[batch.words.bounds]) / np.maximum(np.diff(batch.words.bounds), 1)
    chosen = []
    for index, (name, text) in enumerate(fits):
        plain = batch.letters[index] >= 0.7 * batch.seen[index] and len(_SIGNS.findall(text)) <= 0.015 * len(text)
        english = share[index] >= 0.15 and text.isascii()
        if plain and english == (name == "en"):
            chosen.append((name, text))
    return chosen


def _paragraphs(page: Path) -> Iterator[str]:
    try:
        lines = gzip.decompress(page.read_bytes()).decode().splitlines()
    except (UnicodeDecodeError, OSError):
        return
    parts: list[str] = []
    for line in [*lines, ".PP"]:
        if line[:1] in ".'" and not re.match(r"\.\s*(?:BR?|IR?|RI|RB|BI|IB|SM)\s", line):
            text = " ".join(" ".join(parts).split())
            if len(text) >= _LONG:
                yield text
                parts = []
            elif re.match(r"\.\s*(?:SH|TH|nf|EX|TS)", line):
                parts = []
            continue
        line = re.sub(r"^\.\s*[A-Z]+\s+", "", line)
        parts.append(_NAMED.sub("'", _ESCAPE.sub("", line)).replace('"', ""))


def _catalog(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open("rb") as file:
            found = vars(gettext.GNUTranslations(file))["_catalog"]
    except (OSError, LookupError, ValueError):
        return
    for written, said in found.items():
        if isinstance(written, str) and isinstance(said, str) and written:
            yield written.rpartition("\x04")[2], said


def _code(locale: str) -> str:
    name = re.split(r"[_@]", locale)[0]
    return {"nb": "no", "nn": "no"}.get(name, name)
