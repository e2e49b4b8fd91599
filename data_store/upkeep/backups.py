"""A copy of a store elsewhere, and a store made of such a copy again."""

import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_store.annotation.book import take_book
from data_store.catalog.projection import build_in_memory, tail
from data_store.commands import halter
from data_store.content.contents import uses_by_object
from data_store.errors import InputError, LostObjectError, StoreError, UnwritableError
from data_store.files import remove_stale, remove_tree, sync_folder
from data_store.layout import MARKER
from data_store.locks import locked
from data_store.store import Store
from data_store.upkeep import seals
from data_store.upkeep.foreign import check_is_store, refuse_elsewhere, take_store
from data_store.upkeep.foreign_files import refuse_links
from data_store.upkeep.verification import (
    Fault,
    Progress,
    Verification,
    book_faults,
    broken_objects,
    damages_of,
    verify,
)


@dataclass(frozen=True)
class Backup:
    """What was copied, and what could not be, one sentence each: objects that are damaged or missing here, the book."""

    files: int
    bytes: int
    problems: tuple[str, ...]


def backup(
    store: Store,
    target: Path,
    finish: Callable[[Path], None] = lambda _folder: None,
    *,
    on_progress: Progress = lambda _done, _total: None,
) -> Backup:
    """Copy the store to a folder that opens as a store; what is there already is not copied again, but for the book of
    human judgements, which is copied whole. Others may write meanwhile: the backup is the store at one moment. `finish`
    may add to the folder; then the backup is sealed.

    Every byte is hashed on its way, so that damage is reported and never copied. Raises InputError when the folder
    holds something else, or another store's backup.
    """
    target = target.absolute()
    if target.is_relative_to(store.root):
        raise InputError(f"{target} lies inside the store; give a folder elsewhere, best on another disk")
    if target.is_dir():
        refuse_links(target)
        refuse_elsewhere(target)
    with suppress(UnwritableError):  # what waits is not acknowledged
        store.catalog.settle()
    copy = Store.open(target)
    with store.collecting_forbidden():
        # The journal comes first: every object that it speaks of as far as it goes now exists by now. No leader is at
        # work in this folder while it is looked at, so none of its segments grows any more.
        journal = store.catalog.journal
        with locked(store.catalog.lock, exclusive=False, wait_seconds=store.catalog.wait_seconds):
            extent = journal.extent()
        if not journal.goes_on_from(copy.catalog.journal):
            raise InputError(
                f"{target} is not an earlier backup of {store.root}, or the journal here was changed since "
                f"(`{halter('verify')}` tells): give another folder"
            )
        seals.begin(copy.root)
        copied = _copy(store, copy, extent, on_progress)
    found = verify(copy, deep=False)
    finish(copy.root)
    seals.seal(copy, len(found.damages))
    return Backup(copied.files, copied.bytes, (*copied.problems, *found.problems))


def verify_backup(
    folder: Path, *, deep: bool = True, on_progress: Progress = lambda _done, _total: None
) -> Verification:
    """Check a backup, which is only read: the journal's chain, that it goes as far as was sealed, every object of a
    version that is not retired, and the book of judgements. Without `deep` neither objects nor the book are read.
    Raises InputError for a folder that is no backup.
    """
    check_is_store(folder, "backup; give a folder that `halter backup` wrote")
    refuse_links(folder)
    store, faults = Store(folder.absolute()), []
    try:
        if missing := seals.what_is_missing(folder, store.catalog.journal):
            faults.append(Fault("journal", str(folder), missing))
        faults += book_faults(store) if deep else []
        connection = build_in_memory(store.catalog.journal.whole())
    except StoreError as error:  # without the journal nobody knows what the objects are
        return Verification(0, 0, 0, (), (Fault("journal", str(folder), str(error)),))
    try:
        n_events, wanted = tail(connection)[0], uses_by_object(connection, retired=False)
        total, broken = broken_objects(store, wanted, deep, on_progress)
        damages = damages_of(store, connection, wanted, broken)
    finally:
        connection.close()
    return Verification(n_events, len(wanted), total, damages, tuple(faults))


def restore(
    source: Path,
    target: Path,
    finish: Callable[[Path], None],
    *,
    on_progress: Progress = lambda _done, _total: None,
) -> Verification:
    """Make a store of a backup, which is only read. It is built beside `target`, verified to the last byte, handed to
    `finish`, and only then given its name: it is there whole or not at all. Somebody else may have written the backup:
    nothing that it says is believed, see `foreign.py`.

    Raises InputError when the source is no backup or the target is there, StoreError when the backup is not sound or
    not all that was sealed.
    """
    check_is_store(source, "backup; give a folder that `halter backup` wrote")
    if target.exists():
        raise _is_there(target)
    building = target.parent / ".restoring"
    building.mkdir(parents=True, exist_ok=True)
    remove_stale(building)
    draft = building / f"{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        copy = Store.open(draft)
        problems = take_store(source.absolute(), copy, on_progress)
        if missing := seals.what_is_missing(source, copy.catalog.journal):
            raise StoreError(f"{missing}; nothing was restored")
        found = verify(Store.open(draft))  # opened again: it may be a store of a later halter
        if problems := (*problems, *found.problems):
            listed = "\n".join(problems[:10])
            raise StoreError(f"{source} is not sound, so nothing was restored:\n{listed}")
        finish(draft)
        sync_folder(draft)
        try:
            draft.rename(target)
        except OSError:
            raise _is_there(target) from None
        sync_folder(target.parent)
    finally:
        if draft.exists():
            remove_tree(draft)
        if not any(building.iterdir()):
            building.rmdir()
    return found


def _is_there(target: Path) -> InputError:
    return InputError(f"{target} is there already, and nothing is overwritten: restore under another name")


def _copy(store: Store, copy: Store, extent: Any, on_progress: Progress) -> Backup:
    """Copy the objects, then the part of the journal that speaks of them, then the book; what is there stays."""
    there = {sha256: held.size for sha256, held in copy.objects.all()}
    wanted = [(sha256, held.size) for sha256, held in store.objects.all() if there.get(sha256) != held.size]
    total, done, files = sum(size for _, size in wanted), 0, 0
    damaged = []
    for sha256, size in wanted:
        on_progress(done, total)
        try:
            with store.objects.opened(sha256) as reader:
                files += copy.objects.take_stream(sha256, reader, store.objects.where(sha256))
        except LostObjectError:
            damaged.append(sha256)
        done += size
    on_progress(total, total)
    files += store.catalog.journal.copy_to(copy.catalog.journal, extent)
    troubles = list[str]()
    try:
        files += take_book(store.root, copy.root)
    except StoreError as error:
        troubles.append(f"{error}; what the backup had of it is kept")
    shutil.copyfile(store.root / MARKER, copy.root / MARKER)
    sync_folder(copy.root)
    copy.catalog.settle()
    with copy.catalog.reading() as connection:
        uses = uses_by_object(connection)
    troubles += [
        f"{'; '.join(map(str, uses.get(sha256, ()))) or sha256}: {store.objects.where(sha256)} is damaged"
        for sha256 in damaged
    ]
    return Backup(files, done, tuple(troubles))
