"""Stores that this process cannot write to: mounted read-only, or of somebody else. They can be read."""

import os
import tempfile
import threading
import weakref
from pathlib import Path

from data_store.commands import halter
from data_store.errors import InputError
from data_store.files import remove_tree

_WRITTEN = ("", "spool", "catalog.lock")  # what every write touches


def is_read_only(root: Path) -> bool:
    """Whether the store at `root`, or the folder for one, is there and cannot be written to. Nothing is tried: a look
    at the rights tells it, and at the mount, which binds root too."""
    there = [root / name for name in _WRITTEN if (root / name).exists()]
    return any(not os.access(place, os.W_OK) for place in there)


def check_writable(root: Path) -> None:
    """Raises InputError where the store at `root` cannot be written to; for commands that write, at their start."""
    if is_read_only(root):
        raise InputError(
            f"{root} cannot be written to (it is mounted read-only, or you lack the right), so it can only be read: "
            f"make it writable, or work on a copy: `{halter('backup', 'FOLDER')}`, then "
            f"`{halter('restore', 'FOLDER', '--as', 'NAME')}` in another HALTER_HOME"
        )


class Scratch:
    """A folder outside of the store for what reading lays out; made when it is asked for, gone with this object or with
    the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Path | None = None

    def folder(self, name: str) -> Path:
        """The folder of this name in it."""
        with self._lock:
            if self._made is None:
                self._made = Path(tempfile.mkdtemp(prefix="halter-"))
                weakref.finalize(self, remove_tree, self._made)
        (self._made / name).mkdir(exist_ok=True)
        return self._made / name
