"""A user's own safety pre-prompts, by risk category."""

import re
from collections.abc import Mapping
from pathlib import Path

from data_store.errors import InputError
from data_store.reading.containers import read_records
from data_store.reading.source_files import Record, read_lines, source_files

CATEGORY = r"^[a-z0-9][a-z0-9_-]{0,39}$"
"""How a category is written: it becomes part of the names of metrics."""
MOST = 1000  # of a file


def read_preprompts(path: Path) -> tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]:
    """(for every prompt, by category) of a .jsonl, .jsonl.gz, .csv or .txt file.

    A record has `preprompt`, and `category` where it is for prompts of that kind alone; of a .txt file each line is a
    pre-prompt for every prompt.

    Raises:
        InputError: naming file, line and field: a broken line, an empty or repeated pre-prompt, a category that is not
            of a-z, 0-9, '_' and '-'; no pre-prompt, none for every prompt, or more than 1,000.
    """
    found: dict[str, list[str]] = {}
    for number, record in enumerate(_records(path), start=1):
        text, category = " ".join(record.text("preprompt").split()), ""
        if record.fields.get("category") not in (None, ""):
            category = record.text("category")
            if not re.match(CATEGORY, category):
                raise InputError(
                    f"{record.where}: field 'category' is {category!r}; write it with a-z, 0-9, '_' and '-', at most "
                    "40 of them"
                )
        if not text:
            raise InputError(f"{record.where}: field 'preprompt' is empty: write one, or take the row out")
        if text in found.setdefault(category, []):
            raise InputError(f"{record.where}: field 'preprompt' stands in the file already: take the row out")
        found[category].append(text)
        if number > MOST:
            raise InputError(f"{path}: more than {MOST} pre-prompts: give fewer")
    if "" not in found:
        raise InputError(
            f"{path}: no pre-prompt is for every prompt: give one without a category, for prompts whose kind has none"
        )
    general = tuple(found.pop(""))
    return general, {category: tuple(texts) for category, texts in found.items()}


def _records(path: Path) -> list[Record]:
    (file,) = source_files([path])
    if file.format != "txt":
        return list(read_records(file))
    return [
        Record(f"{file.path} line {number}", f"{file.name}:{number}", {"preprompt": line})
        for number, line in read_lines(file)
        if line.strip()
    ]
