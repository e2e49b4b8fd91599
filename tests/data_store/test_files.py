"""Small files under readers and writers at once, and large ones that are read some rows at a time."""

import os
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.files import atomic_write, open_batches

MEGABYTE = 1 << 20


def test_readers_and_writers_of_an_atomic_file_at_once_see_one_of_the_texts(tmp_path: Path) -> None:
    """Two runs of one config remember it at the same moment."""
    path = tmp_path / "small.json"
    texts = {"a" * 200_000, "b" * 300_000}
    atomic_write(path, min(texts))
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            end, code = time.monotonic() + 0.5, 1
            try:
                while time.monotonic() < end:
                    for text in texts:
                        atomic_write(path, text)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    end = time.monotonic() + 0.4
    seen = set()
    while time.monotonic() < end:
        seen.add(path.read_text())
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert seen <= texts
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.conformance(
    "all that was read of a Parquet file is held until its end", equation="data_store.files:open_batches"
)
def test_a_file_that_is_read_in_batches_is_not_held(tmp_path: Path) -> None:
    rng, path = random.Random(1), tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema({"bytes": pa.binary()}), compression="none") as writer:
        for _ in range(24):  # a row group of a megabyte each
            rows = [rng.randbytes(MEGABYTE // 16) for _ in range(16)]
            writer.write_table(pa.table({"bytes": pa.array(rows, pa.binary())}))
    before, most, read = pa.total_allocated_bytes(), 0, 0
    with open_batches(path) as file:
        for batch in file.iter_batches(4):
            read += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
    assert read == 24 * 16
    assert most < 8 * MEGABYTE
