"""The objects of a store to another place: into a bucket, into another one, or back into its folder.

Everything is copied and then read again in the new place before `places.json` is switched, by one rename. Until then
the store is where it was, so a move that was cut off is simply begun again, and goes on with what is missing there.
"""

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from data_store.collecting import collecting
from data_store.content.object_places import objects_of
from data_store.content.objects import Objects
from data_store.errors import InputError, StoreError
from data_store.places import Places, read_places, write_places
from data_store.store import Store

HERE = "here"
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Moved:
    """Where the objects are now, how many, how many of them had to be copied, how many were removed in the old place,
    and where they lie as well."""

    place: str
    objects: int
    bytes: int
    copied: int
    removed: int
    left: str | None


def move_objects(
    store: Store,
    to: str,
    *,
    remove_old: bool = False,
    cache_gb: float | None = None,
    on_progress: Progress = lambda _done, _total: None,
) -> Moved:
    """Bring the objects of a store to `to`: 's3://bucket/prefix', or 'here' for its folder. Nothing else may be at work
    in it. With `remove_old` they are removed where they were, or still are from the move before. `cache_gb`: what
    copies here may take of objects that lie in a bucket.

    Raises InputError for a place that is none, LostObjectError where an object is damaged here already, StoreError
    where the new place cannot be reached, is another store's, or does not give back what was put there.
    """
    before, wanted = store.places, _address(to)
    if before.store is None:  # known before anything bears it, so that a second try bears the same
        before = before.model_copy(update={"store": uuid.uuid4().hex})
        write_places(store.root, before)
    after = _after(before, wanted, cache_gb)
    # While it is moved no copy that was made here is let go of again.
    new = objects_of(store.root, after.model_copy(update={"cache_gb": None}))
    new.claim()
    proven: set[str] = set()
    with store.collecting_forbidden():  # others may still publish
        copied = _bring(store.objects, new, proven, on_progress)
    with collecting(store.root, store.catalog):
        if read_places(store.root) != before:
            raise StoreError(f"somebody else has moved {store.root} meanwhile; look where it is, then do this again")
        copied += _bring(store.objects, new, proven, lambda _done, _total: None)
        present = [held.size for _, held in store.objects.all()]
        if wanted is None:
            os.sync()  # copies did not have to outlast the power until now
        write_places(store.root, after)
        removed = _remove_old(store, after) if remove_old else 0
    return Moved(wanted or HERE, len(present), sum(present), copied, removed, read_places(store.root).left)


def _address(to: str) -> str | None:
    """The address as it is written down, None for the store's folder. Raises InputError for what is neither."""
    if to != HERE and not to.startswith("s3://"):
        raise InputError(f"{to!r} is no place for objects: give s3://BUCKET/PREFIX, or {HERE!r} for the store's folder")
    return None if to == HERE else to.rstrip("/")


def _after(before: Places, wanted: str | None, cache_gb: float | None) -> Places:
    """The places after the move. Raises InputError where objects of an earlier move would be forgotten."""
    limit = before.cache_gb if cache_gb is None else cache_gb
    after = before.model_copy(update={"objects": wanted, "cache_gb": limit if wanted else None})
    if wanted == before.objects:
        return after
    if before.left not in (None, HERE, wanted):
        raise InputError(
            f"objects of this store still lie in {before.left}, from the move before: give --objects "
            f"{before.objects or HERE} with --remove-old first"
        )
    return after.model_copy(update={"left": before.objects or HERE})


def _bring(old: Objects, new: Objects, proven: set[str], on_progress: Progress) -> int:
    """Bring over what is missing, and read what is not yet `proven` in the new place; gives how many were missing.
    Raises LostObjectError where one is damaged in the old place, StoreError where the new one does not give it back."""
    there = {sha256: held.size for sha256, held in new.all()}
    objects = [(sha256, held.size) for sha256, held in old.all() if sha256 not in proven]
    missing = [(sha256, size) for sha256, size in objects if there.get(sha256) != size]
    total, done = sum(size for _, size in (*missing, *objects)), 0
    for sha256, size in missing:
        on_progress(done, total)
        new.take(sha256, old.sound(sha256))
        done += size
    for sha256, size in objects:
        on_progress(done, total)
        if new.fault(sha256, size, deep=True):
            new.take(sha256, old.sound(sha256))
            if fault := new.fault(sha256, size, deep=True):
                raise StoreError(
                    f"object {new.where(sha256)} is {fault}, though it was just put there: nothing was moved"
                )
        proven.add(sha256)
        done += size
    on_progress(total, total)
    return len(missing)


def _remove_old(store: Store, now: Places) -> int:
    """Remove the objects where they were before the last move; gives how many those were."""
    if now.left is None:
        return 0
    left = None if now.left == HERE else now.left
    count = objects_of(store.root, now.model_copy(update={"objects": left})).leave()
    write_places(store.root, now.model_copy(update={"left": None}))
    return count
