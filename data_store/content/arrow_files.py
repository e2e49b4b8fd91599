"""Versions of rows as Arrow files, which `datasets` maps into memory instead of converting them each time."""

import os
import uuid
from pathlib import Path

import pyarrow as pa

from data_store.content.publishing import Checkouts, id_of
from data_store.content.rowsets import ROWS_FILE
from data_store.files import open_batches, sync_folder
from data_store.read_only import Scratch
from data_store.records import VersionInfo

_BATCH = 65536


class ArrowFiles:
    """One read-only file per version, built from its checkout once and kept until it is evicted."""

    def __init__(self, folder: Path, temporary: Path, checkouts: Checkouts, spare: Scratch | None = None) -> None:
        """`spare`: where those are built that `folder` lacks, for a store that cannot be written to."""
        self.folder = folder
        self.temporary = temporary
        self.checkouts = checkouts
        self.spare = spare

    def path(self, version: str) -> Path:
        """Where the version's file lies once it is built."""
        return self.folder / f"{id_of(version)}.arrow"

    def get(self, version: VersionInfo) -> Path:
        """The version's file, built if need be; it appears whole or not at all. Raises what a checkout raises."""
        target = self.path(version.version_id)
        if self.spare is not None:
            spare = ArrowFiles(self.spare.folder("datasets"), self.spare.folder("tmp"), self.checkouts)
            return target if target.is_file() else spare.get(version)
        if not target.is_file():
            self._build(self.checkouts.get(version) / ROWS_FILE, target)
        os.utime(target)  # eviction goes by the last use
        return target

    def _build(self, source: Path, target: Path) -> None:
        self.folder.mkdir(exist_ok=True)
        draft = self.temporary / f"{uuid.uuid4().hex}.arrow"
        try:
            with (
                open_batches(source) as rows,
                pa.OSFile(str(draft), "wb") as sink,
                pa.ipc.new_stream(sink, rows.schema_arrow) as writer,
            ):
                for batch in rows.iter_batches(batch_size=_BATCH):
                    writer.write_batch(batch)
                if not rows.metadata.num_rows:  # `datasets` cannot open a stream without a batch
                    writer.write_batch(pa.RecordBatch.from_pylist([], rows.schema_arrow))
            draft.chmod(0o444)
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.rename(target)
            sync_folder(self.folder)
        finally:
            draft.unlink(missing_ok=True)

    def evict(self, version: str) -> None:
        """Remove a version's file; it is built again when it is wanted."""
        self.path(version).unlink(missing_ok=True)

    def bytes(self, version: str) -> int:
        """What the disk gets back when the file goes."""
        path = self.path(version)
        return path.stat().st_size if path.is_file() else 0

    def cached(self) -> list[tuple[str, float]]:
        """(version id, last use in seconds since the epoch) of the files there are."""
        return [(path.stem, path.stat().st_mtime) for path in self.folder.glob("*.arrow")]
