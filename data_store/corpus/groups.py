"""The documents of a corpus as they come in: checked, and in groups of about one size."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_store.errors import InputError
from data_store.rows import row_kind

_LEAST_CHARACTERS = 20
"""What a document costs besides its text, as characters."""


def groups(documents: Iterable[pa.RecordBatch], most_characters: int) -> Iterator[pa.Table]:
    """The rows in groups of at most so many characters, or of one document that has more.

    Raises InputError for rows that are not of kind document, or have an empty field.
    """
    held, room = list[pa.RecordBatch](), most_characters
    for batch in _checked(documents):
        ends = np.cumsum(pc.utf8_length(batch.column("text")).to_numpy(zero_copy_only=False) + _LEAST_CHARACTERS)
        start, before = 0, 0
        while start < len(batch):
            stop = int(np.searchsorted(ends, before + room, side="right"))
            if stop == start and not held:
                stop += 1
            if stop > start:
                held.append(batch.slice(start, stop - start))
                room -= int(ends[stop - 1]) - before
                start, before = stop, int(ends[stop - 1])
            if start < len(batch):
                yield pa.Table.from_batches(held)
                held, room = [], most_characters
    if held:
        yield pa.Table.from_batches(held)


def _checked(documents: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    names = row_kind("document").schema.names
    place = 0
    for batch in documents:
        if batch.schema.names != names:
            raise InputError(
                f"the corpus has the columns {', '.join(batch.schema.names)}; wanted are {', '.join(names)}"
            )
        for name, column in zip(names, batch.columns, strict=True):
            if column.null_count:
                row = place + column.is_null().to_pylist().index(True)
                raise InputError(f"row {row} of the corpus: field {name!r} is empty; fill or remove the row")
        yield batch
        place += batch.num_rows


def packed(rows: pa.Table) -> bytes:
    """Rows as bytes for another process: what is pickled of a part of a table has all of it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpacked(content: bytes) -> pa.Table:
    """The reverse of `packed`."""
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()
