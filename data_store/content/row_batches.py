"""Files of rows that are read some at a time: as Arrow has them, or as dictionaries that are made of whole columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from data_store.files import open_batches

Row = dict[str, Any]

_BATCH_ROWS, _BATCH_BYTES = 8192, 1 << 23


def batches_of(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of a file in batches of about 8 MB and at most 8192 rows."""
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    of_groups = (group.num_rows * _BATCH_BYTES // max(group.total_byte_size, 1) for group in groups if group.num_rows)
    yield from file.iter_batches(max(1, min([_BATCH_ROWS, *of_groups])), columns=columns)


def row_dicts(rows: pa.RecordBatch | pa.Table) -> list[Row]:
    """`rows.to_pylist()`."""
    if isinstance(rows, pa.Table):
        return [row for batch in rows.to_batches() for row in row_dicts(batch)]
    names = rows.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*map(_values, rows.columns), strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """`column.to_pylist()`."""
    kind = column.type
    if column.null_count == len(column):
        return [None] * len(column)
    if pat.is_string(kind):
        return _plain(column)
    if column.null_count == 0 and (pat.is_integer(kind) or pat.is_floating(kind) or pat.is_boolean(kind)):
        return _plain(column)
    if pat.is_list(kind):
        return _lists(column)
    if pat.is_struct(kind) and column.null_count == 0:
        return row_dicts(pa.RecordBatch.from_arrays(column.flatten(), names=[field.name for field in kind]))
    found: list[Any] = column.to_pylist()
    return found


def _plain(column: pa.Array) -> list[Any]:
    """Of texts, nulls among them, and of numbers without nulls."""
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found


def _lists(column: pa.ListArray) -> list[Any]:
    items, end, found = _values(column.flatten()), 0, list[Any]()
    for length in column.value_lengths().to_pylist():
        if length is None:
            found.append(None)
            continue
        found.append(items[end : end + length])
        end += length
    return found


class StoredRows:
    """The rows of some files as dictionaries, one file after the other. They are read anew each time, some at a time:
    what takes memory is what is kept of them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def __iter__(self) -> Iterator[Row]:
        for path in self.files:
            with open_batches(path) as file:
                for batch in batches_of(file):
                    yield from row_dicts(batch)
