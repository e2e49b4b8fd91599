"""What a format of preferences is. Each is a file of this folder; data_store/reading/preference_formats/registry.py
names them all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data_store.reading.preference_formats.pairs import Found
from data_store.reading.source_files import Record

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class PreferenceFormat:
    """A format under its name in configs.

    `read` gives of the records that belong together beginnings of rows (source, messages, response_a, response_b,
    chosen, and what else the format says), and refusals; it takes the options of all formats and reads its own.
    `recognises` tells from the fields of a record whether it is of this format, where none before it does. `together`
    gives what the records of one group have in common, `adjacent` says that they follow each other; without it each
    record stands for itself. `reads` names fields that would otherwise be taken for more of the prompt, such as
    `history`. `write` gives the record of a row of kind preference, for a file that ends with `suffix`, and raises
    RefusedRowError for one that the format cannot hold; None where it is only read. With a `schema` the file is
    Parquet.
    """

    name: str
    about: str
    read: Callable[[Sequence[Record], Any], Iterator[Found]]
    recognises: Callable[[Fields], bool]
    write: Callable[[Fields], dict[str, Any]] | None = None
    suffix: str = ".jsonl"
    schema: pa.Schema | None = None
    together: Callable[[Fields], Any] | None = None
    adjacent: bool = True
    reads: frozenset[str] = frozenset()
