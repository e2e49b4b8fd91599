"""Files that are there whole or not at all, names that outlast a power cut, and the removal of what was left behind."""

import os
import time
import uuid
from pathlib import Path

STALE_SECONDS = 24 * 3600.0


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
    with draft.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target)
    sync_folder(target.parent)


def atomic_write(path: Path, text: str) -> None:
    """Write a small file so that readers see the old text or the new, never half of it; of several writers at once one
    is the last."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
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
