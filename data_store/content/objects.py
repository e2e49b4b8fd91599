"""Content-addressed files: `objects/ab/abcd…`, named by their sha256, read-only, never overwritten but where they are
damaged.
"""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from data_store.commands import halter
from data_store.errors import LostObjectError, StoreError
from data_store.files import sync_folder

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_NO_HARD_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


ObjectFault = Literal["missing", "damaged"]


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


def remember_content(path: Path, sha256: str) -> None:
    """Note what a file's bytes were just found to hash to."""
    _contents[same_file(path)] = sha256


def same_file(path: Path) -> tuple[int, int, int, int]:
    """What tells whether a file that nobody writes to is still the one that was read."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


class Readable(Protocol):
    """What gives its bytes some at a time, none at the end."""

    def read(self, most: int, /) -> bytes: ...


@dataclass(frozen=True)
class Held:
    """Size in bytes, and when it was stored or wanted last, in seconds since the epoch."""

    size: int
    modified: float


def place_of(sha256: str) -> str:
    """The name of an object below `objects`; names are made of hashes only."""
    if not _SHA256.fullmatch(sha256):
        raise StoreError(f"{sha256!r} is not a sha256 in hexadecimal")
    return f"{sha256[:2]}/{sha256}"


class Objects:
    """The object folder of a store. `temporary` must lie on the same file system.

    `BucketObjects` has the same for objects that lie elsewhere and of which the folder holds copies. So whoever needs
    the bytes asks `sound` for a path, and `path` says no more than where a copy would be.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    def path(self, sha256: str) -> Path:
        """Where the object lies in this folder, whether or not it does."""
        return self.folder / place_of(sha256)

    def __str__(self) -> str:
        """Where they lie, for messages."""
        return str(self.folder)

    def where(self, sha256: str) -> str:
        """The same for people: where to look for what is wrong with it."""
        return str(self.path(sha256))

    def check(self) -> None:
        """Raises StoreError where the objects cannot be reached, or are another store's."""

    def claim(self) -> None:
        """Make the place this store's, before anything is put there. Raises StoreError where it is another's."""

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
            raise LostObjectError(f"object {path} is damaged: its bytes hash to {found}; {way_out()}")
        return path

    def require(self, sha256: str) -> Path:
        """Where the object lies; raises StoreError when it is missing."""
        path = self.path(sha256)
        if not path.is_file():
            raise LostObjectError(f"object {sha256} is missing from {self}; {way_out()}")
        return path

    def confirm(self, hashes: Iterable[str]) -> None:
        """Raises StoreError when one of them is not there at this moment; for what is about to be relied upon."""
        for sha256 in hashes:
            self.require(sha256)

    @contextmanager
    def opened(self, sha256: str) -> Iterator[Readable]:
        """The object's bytes as they lie there; raises StoreError when it is missing."""
        with self.require(sha256).open("rb") as file:
            yield file

    def fault(self, sha256: str, size: int, *, deep: bool) -> ObjectFault | None:
        """What is wrong with an object that should have `size` bytes; `deep` reads it, every time."""
        path = self.path(sha256)
        if not path.is_file():
            return "missing"
        if path.stat().st_size != size or (deep and file_sha256(path) != sha256):
            return "damaged"
        return None

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
            if consume:
                sha256 = file_sha256(draft)
            else:
                with source.open("rb") as reader:
                    sha256 = copy_hashing(reader, draft)
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

    def take_stream(self, sha256: str, reader: Readable, name: str, *, most: int | None = None) -> bool:
        """The same from an open file, `name` for messages; of one that goes on after `most` bytes no more is read."""
        draft = self.temporary / f"{uuid.uuid4().hex}.tmp"
        try:
            found = copy_hashing(reader, draft, most)
            if found != sha256:
                raise LostObjectError(f"{name} is damaged: its bytes hash to {found}")
            return self._admit(draft, sha256)[2]
        finally:
            draft.unlink(missing_ok=True)

    def _admit(self, draft: Path, sha256: str) -> tuple[str, int, bool]:
        size = draft.stat().st_size
        target = self.path(sha256)
        if self.is_sound(sha256):
            os.utime(target)  # it is wanted again: the collector's grace period starts anew
            remember_content(target, sha256)
            return sha256, size, False
        draft.chmod(0o444)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            sync_folder(self.folder)
        draft.rename(target)
        sync_folder(target.parent)
        remember_content(target, sha256)
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

    def shares(self, sha256: str, file: Path) -> bool:
        """Whether the file is the object itself under another name, so that who reads the one has read the other."""
        stored = self.path(sha256)
        return stored.is_file() and stored.samefile(file)

    def all(self) -> Iterator[tuple[str, Held]]:
        """Every object."""
        for fan in sorted(self.folder.iterdir()):
            for entry in sorted(os.scandir(fan), key=lambda entry: entry.name):
                if _SHA256.fullmatch(entry.name):
                    yield entry.name, Held(entry.stat().st_size, entry.stat().st_mtime)

    def remove(self, sha256: str) -> None:
        """Delete an object; only the collector may, under the exclusive gc lock."""
        self.path(sha256).unlink(missing_ok=True)

    def set_aside(self, sha256: str, folder: Path) -> Path | None:
        """Move an object that is damaged to a folder; gives its place there, None where it is missing."""
        if not self.path(sha256).is_file():
            return None
        folder.mkdir(exist_ok=True)
        return self.path(sha256).rename(folder / sha256)

    def heal(self, sha256: str) -> bool:
        """Put a sound copy in the place of an object that is not there; whether there was one."""
        return False

    def tidy(self, present: Collection[str], grace_seconds: float) -> None:
        """What else the collector removes: copies of what is no longer `present`, and what killed processes left
        longer ago than this. Here both lie in the temporary folder, which is cleared by itself."""

    def leave(self) -> int:
        """Remove all objects, for the store has them elsewhere; gives how many those were."""
        hashes = [sha256 for sha256, _ in self.all()]
        for sha256 in hashes:
            self.path(sha256).unlink(missing_ok=True)
        return len(hashes)


def copy_hashing(reader: Readable, target: Path, most: int | None = None) -> str:
    """Write what is read, up to where it has `most` bytes, to a new file; gives its sha256."""
    digest, done = hashlib.sha256(), 0
    with target.open("xb") as writer:
        while (most is None or done < most) and (chunk := reader.read(_CHUNK)):
            digest.update(chunk)
            done += writer.write(chunk)
    return digest.hexdigest()


def read_hashing(reader: Readable) -> str:
    """sha256 of what is read to its end."""
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
