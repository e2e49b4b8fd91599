"""Writing preference rows in the formats of other tools, so that they read back as the same judgements."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.preference_formats.registry import EXPORT_FORMATS

Row = Mapping[str, Any]


class Exported(NamedTuple):
    """How many rows were written, and how many were left out for which reason."""

    rows: int
    left_out: Mapping[str, int]


def export_preferences(rows: Iterable[Row], format: str, target: Path, *, overwrite: bool = False) -> Exported:
    """Write rows of kind preference to `target`, which appears whole or not at all. A row that the format cannot hold
    is left out and counted.

    Raises InputError for an unknown format, a name that does not fit it, a file that is there, and nothing to write.
    """
    if format not in EXPORT_FORMATS:
        raise InputError(f"format is {format!r}; use one of {', '.join(EXPORT_FORMATS)}")
    write, suffix = EXPORT_FORMATS[format].write, EXPORT_FORMATS[format].suffix
    if write is None:
        raise AssertionError("formats that are only read are not among them")
    if target.suffix != suffix:
        raise InputError(f"{target}: a file of format {format} must be called *{suffix}")
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already: give another name, or --overwrite")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    written, left_out = list[dict[str, Any]](), Counter[str]()
    for row in rows:
        try:
            written.append(write(row))
        except RefusedRowError as refusal:
            left_out[refusal.reason] += 1
    if not written:
        raise InputError(f"there is no preference to write; left out: {dict(left_out) or 'none'}")
    schema = EXPORT_FORMATS[format].schema
    atomic_write(target, _as_json(written, suffix) if schema is None else _as_parquet(written, schema))
    return Exported(len(written), dict(left_out))


def _as_json(written: list[dict[str, Any]], suffix: str) -> str:
    lines = [json.dumps(each, ensure_ascii=False) for each in written]
    text = "\n".join(lines) if suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]"
    return text + "\n"


def _as_parquet(written: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    found = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(written, schema=schema), found)
    return found.getvalue()
