"""Content-addressed files: `objects/ab/abcd…`, named by their sha256, read-only, never overwritten but where they are
damaged.
"""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_store.commands import halter
from data_store.errors import StoreError
from data_store.files import sync_folder

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_NO_HARD_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


def way_out() -> str:
    """What puts right an object that is missing or damaged."""
    return (
        f"`{halter('repair', '--from', 'BACKUP')}` takes it from a backup; without one, `{halter('repair')}` sets it "
        "aside and names the step that makes it anew"
    )


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_contents: dict[tuple[int, int, int, int], str] = {}


def content_of(path: Path) -> str:
    """sha256 of a file's bytes, read once in this process as long as the file keeps its inode, size and mtime. All its
    hard links are one file. For files that nobody writes to, whose damage is of the disk."""
    key = same_file(path)
    if key not in _contents:
        _contents[key] = file_sha256(path)
    return _contents[key]


def same_file(path: Path) -> tuple[int, int, int, int]:
    """What tells whether a file that nobody writes to is still the one that was read."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


class Objects:
    """The object folder of a store. `temporary` must lie on the same file system."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    def path(self, sha256: str) -> Path:
        """Where the object lies, whether or not it exists; paths are made of hashes only."""
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256!r} is not a sha256 in hexadecimal")
        return self.folder / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        """Whether the object is there."""
        return self.path(sha256).is_file()

    def is_sound(self, sha256: str) -> bool:
        """Whether the object is there and its bytes are what its name says; they are read once per process."""
        path = self.path(sha256)
        return path.is_file() and content_of(path) == sha256

    def sound(self, sha256: str) -> Path:
        """Where the object lies, checked as `is_sound` does; raises StoreError when it is missing or damaged."""
        path = self.require(sha256)
        if (found := content_of(path)) != sha256:
            raise StoreError(f"object {path} is damaged: its bytes hash to {found}; {way_out()}")
        return path

    def require(self, sha256: str) -> Path:
        """Where the object lies; raises StoreError when it is missing."""
        path = self.path(sha256)
        if not path.is_file():
            raise StoreError(f"object {sha256} is missing from {self.folder}; {way_out()}")
        return path

    def put_file(self, source: Path, *, consume: bool = False) -> tuple[str, int, bool]:
        """Store a file's bytes: (sha256, size, whether they were new).

        The bytes are hashed while they are copied; with `consume` the file itself is moved in, which saves the copy.
        """
        draft = self.temporary / f"{uuid.uuid4().hex}.tmp"
        if consume:
            try:
                source.rename(draft)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                consume = False
        try:
            sha256 = file_sha256(draft) if consume else _copy_hashing(source, draft)
            return self._admit(draft, sha256)
        finally:
            draft.unlink(missing_ok=True)

    def put_bytes(self, content: bytes) -> tuple[str, int, bool]:
        """Store bytes: (sha256, size, whether they were new)."""
        draft = self.temporary / f"{uuid.uuid4().hex}.tmp"
        try:
            draft.write_bytes(content)
            return self._admit(draft, hashlib.sha256(content).hexdigest())
        finally:
            draft.unlink(missing_ok=True)

    def take(self, sha256: str, source: Path) -> bool:
        """Store the object that a file claims to be; False when it was there. Raises StoreError when its bytes hash to
        something else; nothing is stored then.
        """
        with source.open("rb") as reader:
            return self.take_stream(sha256, reader, str(source))

    def take_stream(self, sha256: str, reader: BinaryIO, name: str, *, most: int | None = None) -> bool:
        """The same from an open file, `name` for messages; of one that goes on after `most` bytes no more is read."""
        draft = self.temporary / f"{uuid.uuid4().hex}.tmp"
        try:
            found = _copy_stream(reader, draft, most)
            if found != sha256:
                raise StoreError(f"{name} is damaged: its bytes hash to {found}")
            return self._admit(draft, sha256)[2]
        finally:
            draft.unlink(missing_ok=True)

    def _admit(self, draft: Path, sha256: str) -> tuple[str, int, bool]:
        size = draft.stat().st_size
        target = self.path(sha256)
        if self.is_sound(sha256):
            os.utime(target)  # it is wanted again: the collector's grace period starts anew
            _contents[same_file(target)] = sha256
            return sha256, size, False
        draft.chmod(0o444)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            sync_folder(self.folder)
        draft.rename(target)
        sync_folder(target.parent)
        _contents[same_file(target)] = sha256
        return sha256, size, True

    def link(self, sha256: str, target: Path) -> None:
        """Give the object another name: a hard link, or a read-only copy where the file system has none. Raises
        StoreError when it is missing or damaged.
        """
        source = self.sound(sha256)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            shutil.copyfile(source, target)
            target.chmod(0o444)

    def all(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every object with its stat."""
        for fan in sorted(self.folder.iterdir()):
            for entry in sorted(os.scandir(fan), key=lambda entry: entry.name):
                if _SHA256.fullmatch(entry.name):
                    yield entry.name, entry.stat()

    def remove(self, sha256: str) -> None:
        """Delete an object; only the collector may, under the exclusive gc lock."""
        self.path(sha256).unlink(missing_ok=True)


def _copy_hashing(source: Path, target: Path) -> str:
    with source.open("rb") as reader:
        return _copy_stream(reader, target)


def _copy_stream(reader: BinaryIO, target: Path, most: int | None = None) -> str:
    digest, done = hashlib.sha256(), 0
    with target.open("xb") as writer:
        while (most is None or done < most) and (chunk := reader.read(_CHUNK)):
            digest.update(chunk)
            done += writer.write(chunk)
    return digest.hexdigest()
