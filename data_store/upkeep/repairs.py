"""Putting right what `verify` finds."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from data_store.annotation.book import BOOK_FILE, BOOK_FILES
from data_store.catalog.journal_table import TableJournal
from data_store.collecting import collecting
from data_store.errors import InputError, LostObjectError, StoreError
from data_store.files import sync_folder, write_durably
from data_store.layout import DAMAGED_FOLDER
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep.foreign import check_is_store, checked_entries, segments_inside, take_foreign_book, take_object
from data_store.upkeep.seals import recover_journal
from data_store.upkeep.verification import Damage, Progress, Verification, verify


@dataclass(frozen=True)
class Repair:
    """What `repair` did, by readable names, what is left to do, and what is to be said of the backup."""

    restored: tuple[str, ...]
    set_aside: tuple[str, ...]
    remade: tuple[str, ...]
    left: Verification
    notes: tuple[str, ...] = ()


def repair(store: Store, backup: Path | None = None, *, on_progress: Progress = lambda _done, _total: None) -> Repair:
    """Put right what can be: objects, journal segments and the book of judgements from a backup of this store, the
    catalog from the journal, checkouts from objects, objects in a bucket from copies of them here. An object that is
    damaged and nowhere else is moved to `damaged/`, so that its step makes it anew. Raises InputError for a folder that
    is no backup, or one of another history.
    """
    if backup is not None:
        check_is_store(backup, "backup; give a folder that `halter backup` wrote")
    check_writable(store.root)
    restored, notes = recover_journal(store, backup) if backup else ([], [])
    found = verify(store, on_progress=on_progress)
    set_aside: list[str] = []
    remade: list[str] = []
    with collecting(store.root, store.catalog):
        if backup is not None and any(fault.where == "journal" for fault in found.faults):
            restored += _restore_segments(store, backup)
        if backup is not None and any(fault.where == "book" for fault in found.faults):
            restored += _restore_book(store, backup)
        if any(fault.where == "catalog" for fault in found.faults):
            store.rebuild()
            remade.append(str(store.catalog.file))
        for damage in found.damages:
            name = "; ".join(map(str, damage.uses))
            moved = store.objects.set_aside(damage.sha256, store.root / DAMAGED_FOLDER)
            if store.objects.heal(damage.sha256):
                remade.append(f"{name}, from the copy here")
                if moved:
                    moved.unlink()
            elif backup is not None and _restore_object(store, backup, damage):
                restored.append(name)
                if moved:
                    moved.unlink()
            elif moved:
                set_aside.append(name)
        lost = {use.version_id for damage in found.damages for use in damage.uses}
        lost |= {fault.what for fault in found.faults if fault.where == "checkout"}
        for version_id, _ in store.checkouts.cached():
            if version_id in lost:  # a checkout is a link to the object, and broken with it
                store.checkouts.evict(version_id)
                remade.append(f"checkout of {version_id[:12]}")
    left = verify(store, deep=False)
    return Repair(tuple(restored), tuple(set_aside), tuple(remade), left, tuple(notes))


def _restore_object(store: Store, backup: Path, damage: Damage) -> bool:
    """Whether the backup had the object, sound."""
    try:
        take_object(backup, damage.sha256, store.objects, size=damage.uses[0].bytes)
    except (LostObjectError, InputError):
        return False
    return True


def _restore_book(store: Store, backup: Path) -> list[str]:
    """Take the backup's book of judgements, where it has a sound one; ours is set aside."""
    aside = store.root / DAMAGED_FOLDER
    with TemporaryDirectory(dir=store.root / "tmp") as folder:
        try:
            if not take_foreign_book(backup, Path(folder)):
                return []
        except (StoreError, InputError):
            return []
        aside.mkdir(exist_ok=True)
        for name in BOOK_FILES:
            with suppress(FileNotFoundError):
                (store.root / name).rename(aside / name)
        (Path(folder) / BOOK_FILE).rename(store.root / BOOK_FILE)
        sync_folder(store.root)
    return ["the book of judgements, as it was when the backup was made"]


def _restore_segments(store: Store, backup: Path) -> list[str]:
    """Take those segments of the backup's journal that are what the catalog once read, and differ from ours."""
    journal = store.catalog.journal
    if isinstance(journal, TableJournal):
        return []  # it has taken them row by row
    known = set(store.catalog.read("SELECT seq, sha256 FROM applied_event"))
    taken = []
    for name, content in segments_inside(backup):
        target = journal.segments / name
        try:
            entries = [(entry.seq, entry.sha256) for entry in checked_entries(journal, content, f"{backup}: {name}")]
        except StoreError:
            continue
        if entries and set(entries) <= known and not (target.exists() and target.read_bytes() == content):
            write_durably(target, content, journal.drafts)
            taken.append(f"journal segment {name}")
    return taken
