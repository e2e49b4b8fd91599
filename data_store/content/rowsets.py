"""Versions of rows: Parquet segments that versions share, and a list of row hashes per version.

A version of rows is a set. Its `ids` object is the sorted 32-byte hashes of its rows, one after the other, so the
sha256 of that object is the set hash. Its segments are Parquet objects with a column `row_hash`; a segment may hold
rows of other versions too, the ids say which count. A new version stores only the rows that its parent's segments lack.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_store.content.objects import Objects, way_out
from data_store.content.row_hashing import ROW_HASH, hash_order, hashes_in, packed_hashes, row_hashes
from data_store.errors import InputError, StoreError
from data_store.records import ObjectRef
from data_store.row_checks import conform
from data_store.rows import RowKind

ROWS_FILE = "rows.parquet"
_HASH_FIELD = pa.field("row_hash", ROW_HASH, nullable=False)
_ROW_GROUP = 65536


def read_rows(folder: Path, kind: RowKind) -> pa.Table:
    """The rows in a folder's rows.parquet, checked; raises InputError that names what is wrong."""
    path = folder / ROWS_FILE
    extra = sorted(entry.name for entry in folder.iterdir() if entry.name != ROWS_FILE) if folder.is_dir() else []
    if not path.is_file() or extra:
        raise InputError(
            f"{folder}: a folder of {kind.name} rows holds {ROWS_FILE} and nothing else; found also {extra}"
        )
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a Parquet file: {error}") from None
    return conform(table, kind, str(path))


def sort_by_hash(table: pa.Table) -> tuple[pa.Table, pa.FixedSizeBinaryArray]:
    """The rows in the canonical order, by row hash, and the hashes in that order."""
    hashes = row_hashes(table)
    order = pa.array(hash_order(hashes))
    return table.take(order), hashes.take(order)


def store_rows(
    objects: Objects, table: pa.Table, hashes: pa.FixedSizeBinaryArray, parent_segments: Iterable[ObjectRef]
) -> tuple[list[ObjectRef], int]:
    """Store a sorted table: its references (segments, then ids) and how many bytes are new.

    Segments of the parent that hold none of the rows are left out; rows that they hold are not stored again.
    """
    missing = hashes
    refs: list[ObjectRef] = []
    for segment in parent_segments:
        if not objects.is_sound(segment.sha256):
            continue  # its rows are simply stored again
        left = missing.filter(pc.invert(pc.is_in(missing, value_set=_hashes_of(objects.path(segment.sha256)))))
        if len(left) < len(missing):
            refs.append(segment)
            missing = left
    new_bytes = 0
    if len(missing) or not len(hashes):
        added = table.append_column(_HASH_FIELD, hashes)
        if len(missing) < len(hashes):
            added = added.filter(pc.is_in(hashes, value_set=missing))
        sha256, size, new = objects.put_bytes(_parquet(added))
        refs.append(ObjectRef(f"segments/{sha256}", sha256, size, "segment"))
        new_bytes += size if new else 0
    sha256, size, new = objects.put_bytes(packed_hashes(hashes))
    refs.append(ObjectRef("ids", sha256, size, "ids"))
    return refs, new_bytes + (size if new else 0)


def load_rows(objects: Objects, refs: Iterable[ObjectRef], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a version in the canonical order, without their hashes, or some columns of them; raises StoreError
    when rows are lost or damaged."""
    segments = [ref for ref in refs if ref.role == "segment"]
    (ids,) = (ref for ref in refs if ref.role == "ids")
    wanted = hashes_in(objects.sound(ids.sha256).read_bytes())
    lost = [ref.sha256 for ref in segments if not objects.is_sound(ref.sha256)]
    chosen = None if columns is None else [*columns, "row_hash"]
    tables = [pq.read_table(objects.path(ref.sha256), columns=chosen) for ref in segments if ref.sha256 not in lost]
    if not tables:
        raise StoreError(f"the segments {lost} in {objects.folder} are missing or damaged; {way_out()}")
    table = pa.concat_tables(tables)
    # First occurrence of each wanted hash: segments of versions that were published side by side may overlap.
    rows = pc.index_in(wanted, value_set=table.column("row_hash"))
    if rows.null_count:
        raise StoreError(
            f"{rows.null_count} of {len(wanted)} rows are lost, {objects.folder} has these segments not at all or "
            f"damaged: {lost}; {way_out()}"
        )
    return table.drop_columns(["row_hash"]).take(rows.cast(pa.int64()))


def write_rows(table: pa.Table, path: Path) -> None:
    """Write rows as the Parquet file that a checkout shows."""
    pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=_ROW_GROUP)
    return sink.getvalue()


def _hashes_of(path: Path) -> pa.ChunkedArray:
    return pq.read_table(path, columns=["row_hash"]).column("row_hash")
