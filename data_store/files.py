"""Files that are there whole or not at all, names that outlast a power cut, the removal of what was left behind, and
large files that are read some rows at a time."""

import errno
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.parquet as pq

STALE_SECONDS = 24 * 3600.0
_READ_BYTES = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(target: Path, content: bytes, temporary: Path) -> None:
    """Put a whole file at `target` or none: temporary folder -> fsync -> rename -> fsync of the folder."""
    draft = temporary / f"{uuid.uuid4().hex}.tmp"
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write until all is written: one call may write less than it was given, on a disk that fills up for example."""
    left = memoryview(content)
    while left:
        written = os.write(descriptor, left)
        if not written:
            raise OSError(errno.EIO, "nothing more can be written")
        left = left[written:]


def append_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Add all of `content` to the end of a file, on the disk when this returns, or nothing of it: where that fails the
    file is cut back to its old length. One process at a time may. Not durable is for what may go with the power.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        length = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, content)
            if durable:
                os.fdatasync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, length)
            os.fsync(descriptor)
            raise
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a small file so that readers see the old text or the new, never half of it; of several writers at once one
    is the last."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_stale(folder: Path, older_than_seconds: float = STALE_SECONDS) -> int:
    """Delete what a killed process left in a temporary folder, once too old to belong to anybody; gives the count."""
    limit = time.time() - older_than_seconds
    removed = 0
    for entry in folder.iterdir():
        try:
            if entry.stat(follow_symlinks=False).st_mtime > limit:
                continue
        except FileNotFoundError:
            continue  # its owner has just renamed it
        remove_tree(entry)
        removed += 1
    return removed


def remove_tree(path: Path) -> None:
    """Delete a file or a folder, read-only folders included."""
    if path.is_dir() and not path.is_symlink():
        path.chmod(0o755)
        for entry in path.iterdir():
            remove_tree(entry)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def open_batches(path: Path) -> "pq.ParquetFile":
    """A Parquet file to be read in batches: with a buffer of its own, without which whole row groups are read, and
    without Arrow's pre-buffer, which holds all that was read of a file until the file is closed.

    Raises what Arrow and the system raise of a file that is none or is not there."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
