"""Rows with long texts, such as a prompt and the answers to it, with all of each row in view.

The cells of the UI's tables do not wrap, so that two long answers never stand beside each other there. Here they are
wrapped by hand in a block of code, which the UI shows as it is: nothing that a model wrote is markup in it.
"""

import unicodedata
from collections.abc import Mapping, Sequence

LABELS = ("rating", "judged by", "from")  # columns that say something of a row, and are no text to compare
_WIDE = 98  # characters in a block of code on a page of 1,400 pixels
_BREAKING = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")  # Unicode's categories of such characters
_LINES = 40  # of one cell
_PIXELS, _PIXELS_A_CHARACTER, _PIXELS_A_CELL = 845, 7.4, 24


def fits(rows: Sequence[Mapping[str, object]]) -> bool:
    """Whether a table of these rows is seen whole on a page of 1,400 pixels."""
    if any("\n" in str(value) for row in rows for value in row.values()):
        return False
    widths = [max(_width(str(row.get(name, ""))) for row in [*rows, {name: name}]) for name in rows[0]]
    return sum(width * _PIXELS_A_CHARACTER + _PIXELS_A_CELL for width in widths) <= _PIXELS


def side_by_side(rows: Sequence[Mapping[str, object]]) -> str:
    """Markdown: each row's first text above, the texts to compare in columns, its labels in the line that opens it."""
    labels = [name for name in rows[0] if name in LABELS]
    head, *columns = [name for name in rows[0] if name not in LABELS] or labels
    lines = []
    for number, row in enumerate(rows, start=1):
        said = "".join(f"--- {name}: {_line(row.get(name, ''))} " for name in labels)
        lines.append(f"--- {number} {said}".ljust(_WIDE, "-"))
        lines += [f"| {line}" for line in _wrapped(f"{head}: {row.get(head, '')}", _WIDE - 2)]
        if columns:
            lines += ["|", *_columns([(name, str(row.get(name, ""))) for name in columns])]
        lines.append("")
    return "\n".join(["```text", *lines, "```"])


def _columns(cells: Sequence[tuple[str, str]]) -> list[str]:
    wide = _WIDE // len(cells) - 2
    wrapped = [[_line(name)[:wide], "-" * wide, *_wrapped(text, wide)] for name, text in cells]
    high = max(map(len, wrapped))
    filled = [[*lines, *[""] * (high - len(lines))] for lines in wrapped]
    return [
        ("| " + "| ".join(line + " " * (wide - _width(line)) for line in together)).rstrip()
        for together in zip(*filled, strict=True)
    ]


def _wrapped(text: str, wide: int) -> list[str]:
    """Lines no wider than this. The end of too long a text is left out, and said to be."""
    lines: list[str] = []
    for paragraph in text[: _LINES * wide].splitlines() or [""]:
        line = ""
        for word in _line(paragraph).split():
            for piece in _pieces(word, wide):
                if line and _width(line) + 1 + _width(piece) > wide:
                    lines.append(line)
                    line = piece
                else:
                    line = f"{line} {piece}" if line else piece
        lines.append(line)
    if len(lines) > _LINES or len(text) > _LINES * wide:
        return [*lines[: _LINES - 1], "… and more"]
    return lines


def _pieces(word: str, wide: int) -> list[str]:
    """A word as it is, or, where it alone is wider than a line, in parts."""
    if _width(word) <= wide:
        return [word]
    pieces, piece = [], ""
    for character in word:
        if _width(piece) + _width(character) > wide:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _line(value: object) -> str:
    """Without what would break a line, move the cursor or turn the direction of writing."""
    return "".join(" " if unicodedata.category(character) in _BREAKING else character for character in str(value))


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
