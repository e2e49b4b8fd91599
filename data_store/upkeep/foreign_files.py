"""Reading files of a folder that somebody else may have filled: plain files of a bounded size, through no link.

A folder from elsewhere can hold links that lead out of it, pipes that never end and files without bounds. Each part of
a path is opened by itself and below the one before, so that a link is met as what it is, and never followed.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from data_store.errors import InputError

SMALL_FILE_BYTES = 1 << 24  # a config, a marker


def open_inside(root: Path, name: str) -> BinaryIO:
    """The plain file `name` ('/' between its parts) below `root`, open for reading.

    Raises FileNotFoundError where there is none, InputError for a link on the way, for what is no plain file, and for a
    name that leads out of the folder.
    """
    *folders, last = _parts(root, name)
    below = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = _open(root, name, folder, os.O_DIRECTORY, below)
            os.close(below)
            below = inner
        found = _open(root, name, last, os.O_NONBLOCK, below)  # a pipe would wait for its writer
    finally:
        os.close(below)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise InputError(f"{root / name} is no plain file; a store holds nothing else, so it was not read")
    return os.fdopen(found, "rb")


def read_inside(root: Path, name: str, most: int = SMALL_FILE_BYTES) -> bytes:
    """The bytes of a file below `root`; raises as `open_inside`, and InputError for one of more than `most` bytes."""
    with open_inside(root, name) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""  # it may grow meanwhile
    if max(size, len(content)) > most:
        raise InputError(f"{root / name} is larger than {most:,} bytes; no such file of a store is, so it was not read")
    return content


def names_inside(root: Path, folder: str) -> list[str]:
    """The names in a folder of `root`, sorted; none where there is no such folder. Raises InputError for a link."""
    (name,) = _parts(root, folder)
    try:
        below = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            inner = _open(root, folder, name, os.O_DIRECTORY, below)
        finally:
            os.close(below)
    except FileNotFoundError:
        return []
    try:
        return sorted(entry.name for entry in os.scandir(inner))
    finally:
        os.close(inner)


def refuse_links(root: Path) -> None:
    """Raises InputError where a folder of the store at `root`, or a folder of objects in it, is a link: what is written
    into it would land elsewhere."""
    objects = root / "objects"
    for folder in (root, *([objects] if objects.is_dir() else [])):
        for entry in os.scandir(folder):
            if entry.is_symlink():
                raise InputError(
                    f"{entry.path} is a link; in a folder that others may write to it could lead anywhere, so nothing "
                    "was written: replace it by what it points to"
                )


def _parts(root: Path, name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InputError(f"{name!r} is no name of a file in {root}")
    return parts


def _open(root: Path, name: str, part: str, flags: int, below: int) -> int:
    try:
        return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=below)
    except OSError as error:
        # ELOOP: a link. ENOTDIR: a link where a folder should be, or a file. ENXIO: a socket.
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise InputError(
                f"{root / name}: {part!r} is a link or no plain file; a store holds plain files in plain folders, so "
                "it was not read"
            ) from None
        raise
