"""Whose rows are these: the annotator or the source that a row names, and the file that a source's name means."""

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc


def is_named(path: Path, name: str) -> bool:
    """Whether a source's name means this file: it is the end of its path, in whole parts."""
    return f"/{path.resolve().as_posix()}".endswith(f"/{name}")


def is_from(column: pa.ChunkedArray, what: str, name: str) -> pa.ChunkedArray:
    """For each value of the column `annotator` or `source`, whether it is of this annotator or source."""
    if what == "annotator":
        return pc.equal(column, name)
    return pc.match_substring_regex(column, rf"^(?:(?:.*/)?{re.escape(name)}:\d+(?:[#+]\d+)*|{re.escape(name)}/\d+)$")


def without(table: pa.Table, what: str, names: Iterable[str]) -> pa.Table:
    """The rows that are of none of these annotators or sources."""
    for name in names:
        table = table.filter(pc.invert(is_from(table.column(what), what, name)))
    return table
