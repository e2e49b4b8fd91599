"""Does the content of versions of rows hash to what their ids say? For stores from elsewhere, whose word is not enough.

That an object is what its name says is seen while it is copied, and versions of files follow from that. A version of
rows names the hashes of its rows; here each row is hashed again.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from data_store.content.objects import Objects
from data_store.content.row_hashing import ROW_HASH, hashes_in, row_hashes
from data_store.errors import StoreError
from data_store.files import open_batches
from data_store.records import VersionInfo
from data_store.rows import ROW_KINDS, RowKind

_BATCH = 65_536
_RATIO, _SPARE = 1000, 1 << 24  # Parquet that claims to grow more than this when it is unpacked is no data of ours


def check_rows(objects: Objects, versions: Iterable[VersionInfo], where: str) -> None:
    """Hash every row of these versions again, each segment once. Raises StoreError that names the version and what in
    it does not hold; `where` names the store it is from. Versions of files are passed over.
    """
    known: dict[tuple[str, str], pa.ChunkedArray] = {}
    for version in versions:
        if version.row_kind is None:
            continue
        try:
            _check(objects, version, known)
        except (_UnsoundError, pa.ArrowException, TypeError, ValueError, OSError) as error:
            raise StoreError(
                f"{where}: version {version.version_id} is not what its id says: {error}; nothing of it was taken over"
            ) from None


class _UnsoundError(Exception):
    """What does not hold."""


def _check(objects: Objects, version: VersionInfo, known: dict[tuple[str, str], pa.ChunkedArray]) -> None:
    (ids,) = (ref for ref in version.objects if ref.role == "ids")
    wanted = hashes_in(objects.require(ids.sha256).read_bytes())
    if len(wanted) != version.n_rows:
        raise _UnsoundError(f"it has {len(wanted)} row hashes and claims {version.n_rows} rows")
    found = []
    for ref in version.objects:
        if ref.role == "segment":
            key = (ref.sha256, version.schema_hash)
            if key not in known:
                known[key] = _hashes_of_segment(objects, ref.sha256, version)
            found.append(known[key])
    there = pa.chunked_array([chunk for each in found for chunk in each.chunks], ROW_HASH)
    if len(pc.unique(wanted)) != len(wanted) or not pc.all(pc.is_in(wanted, value_set=there), min_count=0).as_py():
        raise _UnsoundError("rows are missing from its segments, or named twice")


def _hashes_of_segment(objects: Objects, sha256: str, version: VersionInfo) -> pa.ChunkedArray:
    """The hashes of a segment's rows, as its own column has them and as its rows give them."""
    path = objects.require(sha256)
    file = open_batches(path)
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > _RATIO * path.stat().st_size + _SPARE:
        raise _UnsoundError(f"segment {sha256[:12]} would grow more than {_RATIO} times when it is unpacked")
    schema = file.schema_arrow
    if schema.names[-1:] != ["row_hash"] or schema.field("row_hash").type != ROW_HASH:
        raise _UnsoundError(f"segment {sha256[:12]} has no row hashes")
    content = pa.schema([field for field in schema if field.name != "row_hash"])
    kind = str(version.row_kind)
    if kind not in ROW_KINDS or RowKind(kind, content, ()).schema_hash != version.schema_hash:
        raise _UnsoundError(f"segment {sha256[:12]} has other columns than rows of kind {kind}")
    chunks = []
    for batch in file.iter_batches(batch_size=_BATCH):
        rows = pa.Table.from_batches([batch])
        hashes = row_hashes(rows.drop_columns(["row_hash"]))
        if not rows.column("row_hash").combine_chunks().equals(hashes):
            raise _UnsoundError(f"a row of segment {sha256[:12]} hashes to something else than it says")
        chunks.append(hashes)
    return pa.chunked_array(chunks, ROW_HASH)
