"""Versions of rows: Parquet segments that versions share, and a list of row hashes per version.

A version of rows is a set. Its `ids` object is the sorted 32-byte hashes of its rows, one after the other, so the
sha256 of that object is the set hash. Its segments are Parquet objects with a column `row_hash`; a segment may hold
rows of other versions too, the ids say which count. A new version stores only the rows that its parent's segments lack.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_store.content.objects import Objects, way_out
from data_store.content.row_batches import batches_of
from data_store.content.row_hashing import (
    ROW_HASH,
    batch_hashes,
    hash_order,
    hash_words,
    hashes_in,
    packed_hashes,
    row_hashes,
    set_hash,
)
from data_store.content.sorted_rows import RUN_BYTES, SortedRows
from data_store.errors import InputError, StoreError
from data_store.files import open_batches
from data_store.records import ObjectRef
from data_store.row_checks import RowChecks
from data_store.rows import RowKind

ROWS_FILE = "rows.parquet"
_ROW_GROUP = 65536


@contextmanager
def opened_rows(folder: Path, kind: RowKind) -> Iterator[pq.ParquetFile]:
    """A folder's rows.parquet; raises InputError for a folder that holds anything else, and where it is none."""
    path = folder / ROWS_FILE
    extra = sorted(entry.name for entry in folder.iterdir() if entry.name != ROWS_FILE) if folder.is_dir() else []
    if not path.is_file() or extra:
        raise InputError(
            f"{folder}: a folder of {kind.name} rows holds {ROWS_FILE} and nothing else; found also {extra}"
        )
    try:
        with open_batches(path) as file:
            yield file
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a Parquet file: {error}") from None


def sort_by_hash(folder: Path, kind: RowKind, into: SortedRows) -> None:
    """Read a folder's rows, check and hash them. Raises InputError that names what is wrong."""
    with opened_rows(folder, kind) as file:
        checks = RowChecks(kind, str(folder / ROWS_FILE))
        checks.conform(file.schema_arrow.empty_table())
        for batch in batches_of(file):
            rows = checks.conform(pa.Table.from_batches([batch]))
            into.add(rows, row_hashes(rows))
        pa.default_memory_pool().release_unused()  # the keys of all rows are looked at together
        checks.finish()


def store_rows(
    objects: Objects, rows: SortedRows, hashes: pa.FixedSizeBinaryArray, parent_segments: Iterable[ObjectRef]
) -> tuple[list[ObjectRef], int]:
    """Store sorted rows, of which these are the hashes: references (segments, then ids) and how many bytes are new.

    Segments of the parent that hold none of the rows are left out; rows that they hold are not stored again.
    """
    missing = hashes
    refs: list[ObjectRef] = []
    for segment in parent_segments:
        if not objects.is_sound(segment.sha256):
            continue  # its rows are simply stored again
        left = missing.filter(pc.invert(pc.is_in(missing, value_set=_hashes_of(objects.sound(segment.sha256)))))
        if len(left) < len(missing):
            refs.append(segment)
            missing = left
    new_bytes = 0
    if len(missing) or not len(hashes):
        draft = objects.temporary / f"{uuid.uuid4().hex}.segment"
        try:
            with rows_writer(draft, rows.schema) as writer:
                for table in rows.tables():
                    added = table.filter(pc.is_in(table.column("row_hash"), value_set=missing)) if refs else table
                    writer.write_table(added, row_group_size=_ROW_GROUP)
            sha256, size, new = objects.put_file(draft, consume=True)
        finally:
            draft.unlink(missing_ok=True)
        refs.append(ObjectRef(f"segments/{sha256}", sha256, size, "segment"))
        new_bytes += size if new else 0
    sha256, size, new = objects.put_bytes(packed_hashes(hashes))
    refs.append(ObjectRef("ids", sha256, size, "ids"))
    return refs, new_bytes + (size if new else 0)


def rows_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """For a file of rows, here and in checkouts."""
    return pq.ParquetWriter(path, schema, compression="zstd")


def load_rows(objects: Objects, refs: Iterable[ObjectRef], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a version in the canonical order, without their hashes, or some columns of them; raises StoreError
    when rows are lost or damaged."""
    return pa.concat_tables(ordered_rows(objects, refs, columns))


def ordered_rows(
    objects: Objects, refs: Iterable[ObjectRef], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The same some rows at a time, at least once; what is lost or damaged is said before the first."""
    segments = [ref for ref in refs if ref.role == "segment"]
    (ids,) = (ref for ref in refs if ref.role == "ids")
    wanted = hashes_in(objects.sound(ids.sha256).read_bytes())
    lost = [ref.sha256 for ref in segments if not objects.is_sound(ref.sha256)]
    paths = [objects.sound(ref.sha256) for ref in segments if ref.sha256 not in lost]
    if not paths:
        raise StoreError(f"the segments {lost} in {objects} are missing or damaged; {way_out()}")
    there = [_hashes_of(path) for path in paths]
    gone = len(wanted) - pc.sum(pc.is_in(wanted, value_set=pa.chunked_array(there, ROW_HASH)), min_count=0).as_py()
    if gone:
        raise StoreError(
            f"{gone} of {len(wanted)} rows are lost, {objects} has these segments not at all or "
            f"damaged: {lost}; {way_out()}"
        )
    chosen = None if columns is None else [*columns, "row_hash"]
    with ExitStack() as stack:
        opened = [stack.enter_context(_Segment(*each, chosen)) for each in zip(paths, there, strict=True)]
        at_once = min(_ROW_GROUP, *(each.rows_in(RUN_BYTES) for each in opened))
        for start in range(0, max(len(wanted), 1), at_once):
            hashes = wanted.slice(start, at_once)
            table = pa.concat_tables([each.up_to(hashes) for each in opened])
            # First occurrence of each: segments of versions that were published side by side may overlap.
            rows = pc.index_in(hashes, value_set=table.column("row_hash"))
            yield table.drop_columns(["row_hash"]).take(rows.cast(pa.int64()))


def write_rows(tables: Iterable[pa.Table], path: Path) -> None:
    """Write rows as the Parquet file that a checkout shows."""
    tables = iter(tables)
    first = next(tables)
    with rows_writer(path, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=_ROW_GROUP)


def rows_hash(path: Path) -> str:
    """The set hash of the rows of such a file."""
    with open_batches(path) as file:
        return set_hash(batch_hashes(batches_of(file)))


class _Segment:
    """A segment that is read from its first row to its last, which are in order of their hashes."""

    def __init__(self, path: Path, hashes: pa.FixedSizeBinaryArray, columns: Sequence[str] | None) -> None:
        self._file = open_batches(path)
        self._hashes = hash_words(hashes)[:, 0]
        self._batches = batches_of(self._file, columns)
        self._held = self._file.schema_arrow.empty_table()
        if columns is not None:
            self._held = self._held.select(columns)
        if (self._hashes[1:] < self._hashes[:-1]).any():  # not of our making
            whole = pa.Table.from_batches([*self._batches], self._held.schema)
            order = hash_order(hashes)
            self._hashes, self._held, self._batches = self._hashes[order], whole.take(pa.array(order)), iter(())
        self._taken = 0

    def __enter__(self) -> "_Segment":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows_in(self, size: int) -> int:
        """About how many rows take so many bytes."""
        groups = (self._file.metadata.row_group(number) for number in range(self._file.num_row_groups))
        taken = sum(int(group.total_byte_size) for group in groups)
        return max(1, size * len(self._hashes) // max(taken, 1))

    def up_to(self, hashes: pa.FixedSizeBinaryArray) -> pa.Table:
        """The next rows up to the last of these hashes; those that begin as it does come again."""
        last = hash_words(hashes)[-1:, 0]
        begin, end = (int(np.searchsorted(self._hashes, last, side).sum()) for side in ("left", "right"))
        number, tables = end - self._taken, [self._held]
        while sum(map(len, tables)) < number:
            tables.append(pa.Table.from_batches([next(self._batches)]))
        table = pa.concat_tables(tables)
        self._held, self._taken = table.slice(begin - self._taken), begin
        return table.slice(0, number)


def _hashes_of(path: Path) -> pa.FixedSizeBinaryArray:
    column = pq.read_table(path, columns=["row_hash"]).column("row_hash")
    return pa.concat_arrays(column.chunks) if column.num_chunks else hashes_in(b"")
