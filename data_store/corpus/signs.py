"""Which sort of sign each character is: letters by their script, digits, punctuation, symbols."""

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

SCRIPTS = ("latin", "hangul", "kana", "han", "cyrillic", "arabic", "hebrew", "greek", "devanagari", "thai", "other")
"""Scripts of letters; `other` are all that are not named."""

_SORTS = ("space", "control", "punctuation", "symbol", "number", "mark", "jamo", "accented", *SCRIPTS)
SPACE, CONTROL, PUNCTUATION, SYMBOL, NUMBER, MARK, JAMO, ACCENTED = range(8)
"""From `NUMBER` on they are what words are made of."""
SCRIPT = {name: _SORTS.index(name) for name in SCRIPTS}
N_SORTS = len(_SORTS)
LETTERS = (JAMO, ACCENTED, *SCRIPT.values())

_RANGES: tuple[tuple[int, int, str], ...] = (
    (0x0000, 0x024F, "latin"),
    (0x1E00, 0x1EFF, "latin"),
    (0xFF21, 0xFF5A, "latin"),
    (0x0370, 0x03FF, "greek"),
    (0x1F00, 0x1FFF, "greek"),
    (0x0400, 0x052F, "cyrillic"),
    (0x0590, 0x05FF, "hebrew"),
    (0x0600, 0x077F, "arabic"),
    (0x08A0, 0x08FF, "arabic"),
    (0xFB50, 0xFDFF, "arabic"),
    (0xFE70, 0xFEFF, "arabic"),
    (0x0900, 0x097F, "devanagari"),
    (0x0E00, 0x0E7F, "thai"),
    (0x1100, 0x11FF, "hangul"),
    (0xAC00, 0xD7A3, "hangul"),
    (0x3131, 0x318E, "jamo"),
    (0x3040, 0x30FF, "kana"),
    (0x31F0, 0x31FF, "kana"),
    (0xFF66, 0xFF9F, "kana"),
    (0x2E80, 0x2FDF, "han"),
    (0x3005, 0x3007, "han"),
    (0x3400, 0x4DBF, "han"),
    (0x4E00, 0x9FFF, "han"),
    (0xF900, 0xFAFF, "han"),
    (0x20000, 0x323AF, "han"),
)
_LAST = 0x32400  # beyond are tags and private signs: the class of this one is theirs
_TEXT_SIGNS = frozenset(".,;:!?'\"()-~^")
"""Of ASCII; # % & * / and the like are symbols though Unicode calls them punctuation, for noise is full of them."""


def _sort_of(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] == "Z" or character in "\t\n\r\v\f":
        return SPACE
    if category[0] in "LMNPS":
        if category[0] == "P" and ord(character) < 128 and character not in _TEXT_SIGNS:
            return SYMBOL
        if character in _TEXT_SIGNS:
            return PUNCTUATION
        return {"M": MARK, "N": NUMBER, "P": PUNCTUATION, "S": SYMBOL, "L": SCRIPT["other"]}[category[0]]
    return CONTROL


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.uint8]:
    table = np.fromiter((_sort_of(chr(point)) for point in range(_LAST + 1)), np.uint8, _LAST + 1)
    is_letter = table == SCRIPT["other"]
    for first, last, name in _RANGES:
        inside = slice(first, last + 1)
        table[inside][is_letter[inside]] = _SORTS.index(name)
    accented = (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
    table[[point for point in accented if table[point] == SCRIPT["latin"]]] = ACCENTED
    return table


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """The characters of a text as numbers; halves of surrogate pairs stay what they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def sorts_of(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The sort of each character, as one of the numbers of this module."""
    return np.take(_table(), points, mode="clip")
