"""Rows in order of their hashes, also more of them than memory is to hold.

What comes is sorted a run at a time. Of several runs each is written to the disk in piles, cut at the same beginnings
of hashes, so that a pile of all runs together holds the rows between two hashes and can be sorted by itself.
"""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_store.content.row_hashing import ROW_HASH, hash_order, hash_words, hashes_in, packed_hashes

HASH_FIELD = pa.field("row_hash", ROW_HASH, nullable=False)
RUN_BYTES = 1 << 24
_PILE_BITS = 7  # of 2 GB each pile is as large as a run
_PILES = 1 << _PILE_BITS


class SortedRows:
    """Rows with their hashes. Close it, so that nothing stays on the disk."""

    def __init__(self, temporary: Path, schema: pa.Schema, run_bytes: int = RUN_BYTES) -> None:
        """`run_bytes`: about so much is held at once, two or three times over while it is sorted."""
        self.schema = schema.append(HASH_FIELD)
        self._folder, self._run_bytes = temporary / f"{uuid.uuid4().hex}.runs", run_bytes
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._runs = 0
        self._pile_bytes = np.zeros(_PILES, np.int64)
        self._packed: list[bytes] = []

    def add(self, rows: pa.Table, hashes: pa.FixedSizeBinaryArray) -> None:
        """Some more rows, (N) with their hashes (N)."""
        if not len(rows):
            return
        self._packed.append(packed_hashes(hashes))
        self._held.append(rows.append_column(HASH_FIELD, hashes))
        self._held_bytes += self._held[-1].nbytes
        if self._held_bytes >= self._run_bytes:
            self._write_run()

    def hashes(self) -> pa.FixedSizeBinaryArray:
        """The hashes of all rows, sorted."""
        found = hashes_in(b"".join(self._packed))
        return found.take(pa.array(hash_order(found)))

    def tables(self) -> Iterator[pa.Table]:
        """All rows in order of their hashes, which are their last column `row_hash`, some at a time."""
        if not self._runs:
            yield self._sorted(self._held)
            return
        if self._held:
            self._write_run()
        first = 0
        while first < _PILES:
            last = first + 1
            while last < _PILES and self._pile_bytes[first : last + 1].sum() <= self._run_bytes:
                last += 1
            yield self._sorted([pile for run in range(self._runs) for pile in self._piles(run, first, last)])
            first = last

    def close(self) -> None:
        """Remove what lies on the disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sorted(self, tables: list[pa.Table]) -> pa.Table:
        if not tables:
            return self.schema.empty_table()
        whole = pa.concat_tables(tables).combine_chunks()
        hashes = whole.column("row_hash").chunk(0) if len(whole) else hashes_in(b"")
        return whole.take(pa.array(hash_order(hashes)))

    def _write_run(self) -> None:
        """Sort what is held and write it, a batch a pile."""
        run = self._sorted(self._held).combine_chunks()
        self._held, self._held_bytes = [], 0
        self._folder.mkdir(exist_ok=True)
        first_words = hash_words(run.column("row_hash").chunk(0))[:, 0] >> np.uint64(64 - _PILE_BITS)
        ends = np.searchsorted(first_words, np.arange(_PILES), side="right").tolist()
        (batch,) = run.to_batches()
        with pa.OSFile(str(self._run_file(self._runs)), "wb") as sink, pa.ipc.new_file(sink, run.schema) as writer:
            for pile, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                part = batch.slice(start, end - start)
                self._pile_bytes[pile] += part.nbytes
                writer.write_batch(part)
        self._runs += 1

    def _piles(self, run: int, first: int, last: int) -> Iterator[pa.Table]:
        with pa.OSFile(str(self._run_file(run))) as source:
            file = pa.ipc.open_file(source)
            for number in range(first, last):
                yield pa.Table.from_batches([file.get_batch(number)])

    def _run_file(self, run: int) -> Path:
        return self._folder / f"{run}.arrow"
