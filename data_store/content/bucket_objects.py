"""Objects that lie in a bucket; the folder `objects` of the store holds copies of them.

    halter-store.json    which store they are of        wanted/abcd…      when an object was wanted again
    objects/ab/abcd…     content by its sha256          uploads/…         drafts of large objects
    steps/…              what flows and the machines that do single steps for them say (tasks/engine/remote)
    shards/…             parts of a step that workers of Ray do (tasks/engine/on_ray)

The bucket is the truth: an object is stored when the bucket has said so. A copy is held against its hash once per
process as any object is; one that is damaged or gone is fetched again, and seen whole or not at all.
"""

import os
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_store.content.bucket import PAGE, Bucket, Reader
from data_store.content.bucket_owner import check_owner, claim, give_up, is_claimed
from data_store.content.objects import (
    Held,
    ObjectFault,
    Objects,
    Readable,
    content_of,
    copy_hashing,
    place_of,
    read_hashing,
    remember_content,
    way_out,
)
from data_store.errors import LostObjectError, StoreError

_SEEN_SECONDS = 60.0  # so long an object that was seen is taken to be there
_SINGLE_LOOKS = 4  # whoever asks for more objects one by one is answered from a list of all
_LOOK_FIRST_BYTES = 1 << 20  # what is larger is sent only where it is not there
_RENEW_SECONDS = 3600.0  # what was stored so shortly ago needs no new grace period
_OPENING_SECONDS = 20.0  # of patience with a server when a store is opened
_IN_USE_SECONDS = 600.0  # a copy that somebody has just asked for stays, whatever the limit says

_checked: set[tuple[str, tuple[str, str]]] = set()  # places that this process knows to be their store's


class BucketObjects(Objects):
    """The objects of a store in a bucket. `store`: the id and the name of the store; `limit`: what the copies here may
    take, in bytes. `folder` and `temporary` as of `Objects`."""

    def __init__(
        self, folder: Path, temporary: Path, bucket: Bucket, store: tuple[str, str], limit: int | None = None
    ) -> None:
        super().__init__(folder, temporary)
        self.bucket = bucket
        self.store = store
        self.limit = limit
        self._seen: dict[str, float] = {}  # when the bucket was last known to have it
        self._proven: set[str] = set()  # what this process has sent, or read there and found sound
        self._looks = 0
        self._kept: int | None = None
        self._evicting = threading.Lock()

    def __str__(self) -> str:
        """The address of the prefix."""
        return self.bucket.url

    def where(self, sha256: str) -> str:
        """The address of the object."""
        return f"{self.bucket.url}/{_key(sha256)}"

    def check(self) -> None:
        """Raises StoreError where the bucket cannot be reached, or is another store's."""
        if (self.bucket.url, self.store) not in _checked:
            check_owner(self.bucket.within(_OPENING_SECONDS), *self.store)
            _checked.add((self.bucket.url, self.store))

    def claim(self) -> None:
        """Make the prefix this store's. Raises StoreError where it is another's, or holds anything else."""
        claim(self.bucket.within(_OPENING_SECONDS), *self.store)

    def leave(self) -> int:
        """Remove all that is under the prefix, the marker last; the copies here stay."""
        if not is_claimed(self.bucket):
            return 0
        check_owner(self.bucket, *self.store)
        objects = [key for key, _ in self.bucket.listed("objects/")]
        rest = [key for prefix in ("wanted/", "uploads/", "steps/", "shards/") for key, _ in self.bucket.listed(prefix)]
        self.bucket.delete([*objects, *rest])
        give_up(self.bucket)
        return len(objects)

    def exists(self, sha256: str) -> bool:
        """Whether the bucket has the object, or had it within the last minute."""
        key = _key(sha256)
        if time.monotonic() - self._seen.get(sha256, float("-inf")) < _SEEN_SECONDS:
            return True
        self._looks += 1
        if self._looks > _SINGLE_LOOKS + len(self._seen) // PAGE:  # else the list would cost more
            self._looks, moment = 0, time.monotonic()
            self._seen = dict.fromkeys((each for each, _ in self._stored()), moment)
            if sha256 in self._seen:
                return True
        if self.bucket.look(key) is None:
            self._seen.pop(sha256, None)
            return False
        self._seen[sha256] = time.monotonic()
        return True

    def confirm(self, hashes: Iterable[str]) -> None:
        """Raises StoreError when the bucket does not have one of them at this moment."""
        for sha256 in hashes:
            if self.bucket.look(_key(sha256)) is None:
                self._seen.pop(sha256, None)
                raise self._missing(sha256)

    def is_sound(self, sha256: str) -> bool:
        """Whether the bucket has the object and a copy of it could be made that is what its name says."""
        return self.exists(sha256) and (self._has_copy(sha256) or self._fetch(sha256) is None)

    def sound(self, sha256: str) -> Path:
        """A copy of the object, checked; raises StoreError when it is missing or damaged."""
        if not self._has_copy(sha256):
            fault = self._fetch(sha256)
            if fault == "missing":
                raise self._missing(sha256)
            if fault:
                raise LostObjectError(f"object {self.where(sha256)} is damaged; {way_out()}")
        path = self.path(sha256)
        with suppress(FileNotFoundError):  # eviction goes by the last use; the time of change is left as it is
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        return path

    def require(self, sha256: str) -> Path:
        """The same."""
        return self.sound(sha256)

    @contextmanager
    def opened(self, sha256: str) -> Iterator[Readable]:
        """The object's bytes as they lie in the bucket; raises StoreError when it is missing."""
        yield self._reader(sha256)

    def fault(self, sha256: str, size: int, *, deep: bool) -> ObjectFault | None:
        """What is wrong with an object in the bucket; `deep` reads it, every time."""
        there = self.bucket.read(_key(sha256)) if deep else self.bucket.look(_key(sha256))
        if there is None:
            return "missing"
        if there.size != size or (isinstance(there, Reader) and read_hashing(there) != sha256):
            self._proven.discard(sha256)
            return "damaged"
        if deep:
            self._proven.add(sha256)
        return None

    def shares(self, sha256: str, file: Path) -> bool:
        """Never: what the bucket holds is no file of this machine."""
        return False

    def all(self) -> Iterator[tuple[str, Held]]:
        """Every object in the bucket; wanted again counts as changed."""
        wanted = {key.rpartition("/")[2]: held.modified for key, held in self.bucket.listed("wanted/")}
        for sha256, held in self._stored():
            yield sha256, Held(held.size, max(held.modified, wanted.get(sha256, 0.0)))

    def remove(self, sha256: str) -> None:
        """Delete an object, here first: a copy of what the bucket has no more would stay."""
        self.path(sha256).unlink(missing_ok=True)
        self._forget(sha256)
        self.bucket.delete([_key(sha256), _wanted(sha256)])

    def set_aside(self, sha256: str, folder: Path) -> Path | None:
        """Move a damaged object from the bucket to a folder here."""
        reader = self.bucket.read(_key(sha256))
        if reader is None:
            return None
        folder.mkdir(exist_ok=True)
        draft = self._draft()
        try:
            copy_hashing(reader, draft)
            draft.rename(folder / sha256)
        finally:
            draft.unlink(missing_ok=True)
        self._forget(sha256)
        self.bucket.delete([_key(sha256)])
        return folder / sha256

    def heal(self, sha256: str) -> bool:
        """Put the copy here in the place of an object that the bucket lacks; whether there was a sound one."""
        return self._has_copy(sha256) and self.take(sha256, self.path(sha256))

    def tidy(self, present: Collection[str], grace_seconds: float) -> None:
        """Remove copies here of what the bucket has no more, perhaps because another machine removed it, and drafts
        there that nobody finished, as well as what was said of steps of which nobody has heard for as long."""
        for sha256, _ in super().all():
            if sha256 not in present:
                self.path(sha256).unlink(missing_ok=True)
        limit = time.time() - grace_seconds
        self.bucket.delete([key for key, held in self.bucket.listed("uploads/") if held.modified < limit])
        self.bucket.delete(self._of_steps(limit))

    def _of_steps(self, limit: float) -> list[str]:
        """Keys of what was said of steps that no flow waits for: none of the same sending, and none of the shards of
        the same step, is as new as `limit`."""
        sendings: dict[str, list[tuple[str, float]]] = {}
        for prefix, depth in (("steps/", 3), ("shards/", 2)):
            for key, held in self.bucket.listed(prefix):
                sendings.setdefault("/".join(key.split("/")[:depth]), []).append((key, held.modified))
        return [key for said in sendings.values() if max(at for _, at in said) < limit for key, _ in said]

    def _admit(self, draft: Path, sha256: str) -> tuple[str, int, bool]:
        size = draft.stat().st_size
        new = self._send(draft, sha256, size)
        self._seen[sha256] = time.monotonic()
        self._proven.add(sha256)
        self._keep(draft, sha256, size)
        return sha256, size, new

    def _send(self, draft: Path, sha256: str, size: int) -> bool:
        """Let the bucket have the object; False where it had it, sound."""
        key = _key(sha256)
        there = self.bucket.look(key) if size > _LOOK_FIRST_BYTES else None
        if there is None and self.bucket.create_file(key, draft):
            return True
        there = self.bucket.look(key)
        if there and there.size == size and (sha256 in self._proven or self.fault(sha256, size, deep=True) is None):
            if time.time() - there.modified > _RENEW_SECONDS:  # the collector's grace period starts anew
                self.bucket.touch(_wanted(sha256))
            return False
        self.bucket.delete([key])  # it is damaged there
        if not self.bucket.create_file(key, draft) and self.fault(sha256, size, deep=True):
            raise StoreError(f"object {self.where(sha256)} is damaged, and somebody keeps it from being put right")
        return True

    def _fetch(self, sha256: str) -> ObjectFault | None:
        """Copy the object here; what kept it from being done."""
        reader = self.bucket.read(_key(sha256))
        if reader is None:
            self._seen.pop(sha256, None)
            return "missing"
        draft = self._draft()
        try:
            if copy_hashing(reader, draft) != sha256:
                self._proven.discard(sha256)
                return "damaged"
            self._seen[sha256] = time.monotonic()
            self._proven.add(sha256)
            self._keep(draft, sha256, reader.size)
        finally:
            draft.unlink(missing_ok=True)
        return None

    def _has_copy(self, sha256: str) -> bool:
        path = self.path(sha256)
        try:
            return content_of(path) == sha256
        except FileNotFoundError:
            return False

    def _keep(self, draft: Path, sha256: str, size: int) -> None:
        """Make a checked file the copy of the object. It need not outlast the power: it would be fetched again."""
        target = self.path(sha256)
        if not self._has_copy(sha256):
            draft.chmod(0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(target)
            remember_content(target, sha256)
            if self.limit is not None:
                self._make_room(size, self.limit)

    def _make_room(self, added: int, limit: int) -> None:
        """Remove copies, the longest unused first, until they fit. What is linked into a checkout stays."""
        with self._evicting:
            if self._kept is not None and self._kept + added <= limit:
                self._kept += added
                return
            found = list[tuple[Path, os.stat_result]]()
            for path in self.folder.glob("??/*"):
                with suppress(FileNotFoundError):  # another process makes room as well
                    found.append((path, path.stat()))
            self._kept = sum(stat.st_size for _, stat in found)
            unused = time.time() - _IN_USE_SECONDS
            for path, stat in sorted(found, key=lambda each: each[1].st_atime):
                if self._kept <= limit or stat.st_atime > unused:
                    return
                if stat.st_nlink == 1:
                    path.unlink(missing_ok=True)
                    self._kept -= stat.st_size

    def _stored(self) -> Iterator[tuple[str, Held]]:
        for key, held in self.bucket.listed("objects/"):
            sha256 = key.rpartition("/")[2]
            with suppress(StoreError):  # not of our making
                if key == _key(sha256):
                    yield sha256, held

    def _reader(self, sha256: str) -> Reader:
        reader = self.bucket.read(_key(sha256))
        if reader is None:
            raise self._missing(sha256)
        return reader

    def _missing(self, sha256: str) -> LostObjectError:
        return LostObjectError(f"object {sha256} is missing from {self}; {way_out()}")

    def _forget(self, sha256: str) -> None:
        self._seen.pop(sha256, None)
        self._proven.discard(sha256)

    def _draft(self) -> Path:
        return self.temporary / f"{uuid.uuid4().hex}.tmp"


def _key(sha256: str) -> str:
    return f"objects/{place_of(sha256)}"


def _wanted(sha256: str) -> str:
    return f"wanted/{sha256}"
