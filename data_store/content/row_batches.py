"""Files of rows that are read some at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS, _BATCH_BYTES = 8192, 1 << 23
_READ_BYTES = 1 << 20


def open_batches(path: Path) -> pq.ParquetFile:
    """A Parquet file to be read in batches: with a buffer of its own, without which whole row groups are read."""
    return pq.ParquetFile(path, buffer_size=_READ_BYTES)


def batches_of(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of a file in batches of about 8 MB and at most 8192 rows."""
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    rows = min(
        (group.num_rows * _BATCH_BYTES // max(group.total_byte_size, 1) for group in groups), default=_BATCH_ROWS
    )
    yield from file.iter_batches(max(1, min(rows, _BATCH_ROWS)), columns=columns)
