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
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        rows = max(1, min(_BATCH_ROWS, group.num_rows * _BATCH_BYTES // max(group.total_byte_size, 1)))
        yield from file.iter_batches(rows, row_groups=[number], columns=columns)
