"""What a format of preferences is. Each is a file of this folder; data_store/reading/preference_formats/registry.py
names them all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data_store.reading.preference_formats.pairs import Found
from data_store.reading.source_files import Record

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class PreferenceFormat:
    """A format under its name in configs.

    `read` gives of the records of one file beginnings of rows (source, messages, response_a, response_b, chosen, and
    what else the format says), and refusals; it takes the options of all formats and reads its own. `recognises` tells
    from the fields of a file's first record whether it is of this format, where none before it does. `write` gives the
    record of a row of kind preference, for a file that ends with `suffix`, and raises RefusedRowError for one that the
    format cannot hold; None where it is only read.
    """

    name: str
    about: str
    read: Callable[[Iterable[Record], Any], Iterator[Found]]
    recognises: Callable[[Fields], bool]
    write: Callable[[Fields], dict[str, Any]] | None = None
    suffix: str = ".jsonl"
