"""A store from elsewhere: a backup, or a run that somebody gives away. Nothing in it is taken at its word.

Its catalog is never opened, since a database can hold views that read files when they are asked: a catalog of our own
is made of its journal, each event held against its shape first (`foreign_events.py`). Its files are opened through no
link and up to a size (`foreign_files.py`), objects are held against their hashes while they are copied, and rows
against the ids of their versions afterwards (`version_check.py`). It is only read.
"""

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from data_store.annotation.book import BOOK_FILES, take_book
from data_store.catalog import runs
from data_store.catalog.journal import Entry, Journal
from data_store.commands import halter
from data_store.content.contents import uses_by_object
from data_store.content.objects import Objects, place_of
from data_store.content.version_check import check_rows
from data_store.errors import InputError, LostObjectError, StoreError
from data_store.files import remove_tree, write_durably
from data_store.layout import MARKER, check_marker
from data_store.locks import LOCK_WAIT_SECONDS
from data_store.places import PLACES_FILE
from data_store.records import ObjectRef
from data_store.store import Store
from data_store.upkeep.foreign_events import check_entry
from data_store.upkeep.foreign_files import names_inside, open_inside, read_inside

Progress = Callable[[int, int], None]  # bytes done, bytes in all
_SEGMENT = re.compile(r"[0-9]{12}\.jsonl")
_SEGMENT_BYTES = 1 << 30
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ForeignStore:
    """What may be asked of a store from elsewhere. `known`: what its journal says, as a store of ours without objects;
    nothing is written to it."""

    root: Path
    known: Store

    def take(self, ref: ObjectRef, objects: Objects) -> bool:
        """Copy one object into `objects`; False where it was there. Raises StoreError for one that is missing or is not
        what its name and its version say, InputError for a link."""
        if objects.is_sound(ref.sha256):
            return False
        return take_object(self.root, ref.sha256, objects, size=ref.bytes)


def check_is_store(root: Path, what: str) -> None:
    """Raises InputError for a folder that is no store (`what` it should be), StoreError for one of a newer halter."""
    try:
        content = read_inside(root, MARKER)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{root} is no {what}: it has no {MARKER}") from None
    check_marker(content, root / MARKER)
    refuse_elsewhere(root)


def refuse_elsewhere(root: Path) -> None:
    """Raises InputError for a store of which parts lie elsewhere: a stranger's word must lead to no server."""
    try:
        places = json.loads(read_inside(root, PLACES_FILE))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (ValueError, RecursionError):
        places = None
    if not isinstance(places, dict) or places.get("objects") or places.get("journal"):
        raise InputError(
            f"{root} has parts elsewhere ({PLACES_FILE}), and no server is asked because a folder names it: give a "
            f"backup of it, made where it is used (`{halter('backup', 'FOLDER')}`)"
        )


@contextmanager
def opened_foreign(root: Path, workplace: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[ForeignStore]:
    """A store from elsewhere for the length of the block. Its garbage collector is kept out meanwhile. `workplace` is a
    folder of temporary files of our own.

    Raises StoreError for a journal that is broken or that no halter wrote.
    """
    draft = workplace / f"{uuid.uuid4().hex}.foreign"
    with _collecting_forbidden(root, wait_seconds):
        try:
            known = Store.open(draft)
            take_journal(root, known, durably=False)
            yield ForeignStore(root, known)
        finally:
            if draft.exists():
                remove_tree(draft)


def take_journal(root: Path, target: Store, *, durably: bool) -> None:
    """Copy the journal of the store at `root` into `target`, which is new, hold all that it says against what a halter
    writes, and make the catalog of it. Raises StoreError where it does not hold.
    """
    journal = target.catalog.journal
    for name, content in segments_inside(root):
        if durably:
            write_durably(journal.segments / name, content, journal.drafts)
        else:
            (journal.segments / name).write_bytes(content)
    with _as_said_by(root, target.root):
        for entry in journal.whole():
            check_entry(entry, str(root / "journal"))
        target.rebuild()


def copied_journal(root: Path, place: Path) -> Journal:
    """A copy of the journal of the store at `root` in the folder `place`, as whoever wrote it left it, with its events
    held against what a halter writes. Raises StoreError where one does not hold."""
    copy = Journal(place)
    copy.segments.mkdir()
    for name, content in segments_inside(root):
        (copy.segments / name).write_bytes(content)
    with _as_said_by(root, place):
        for segment in copy.segments_there():
            for entry in copy.read(segment):
                check_entry(entry, str(root / "journal"))
    return copy


def segments_inside(root: Path) -> Iterator[tuple[str, bytes]]:
    """The segments of a foreign journal, by name, oldest first. Raises StoreError for one of an odd name."""
    for name in names_inside(root, "journal"):
        if name.endswith(".jsonl"):
            if not _SEGMENT.fullmatch(name):
                raise StoreError(f"{root / 'journal' / name} is no name of a segment; nothing was taken over")
            yield name, read_inside(root, f"journal/{name}", _SEGMENT_BYTES)


def checked_entries(journal: Journal, segment: bytes, where: str) -> list[Entry]:
    """The entries of a segment from elsewhere, each held against its hash and its shape. `journal` is one of ours and
    lends the place to lay it down. Raises StoreError for what no halter wrote."""
    draft = journal.drafts / f"{uuid.uuid4().hex}.tmp"
    try:
        draft.write_bytes(segment)
        with _as_said_by(Path(where), draft):
            entries = list(journal.read(draft))
    finally:
        draft.unlink(missing_ok=True)
    for entry in entries:
        check_entry(entry, where)
    return entries


@contextmanager
def _as_said_by(root: Path, copy: Path) -> Iterator[None]:
    """What is wrong with a copy is wrong with what it is a copy of."""
    try:
        yield
    except StoreError as error:
        raise StoreError(str(error).replace(str(copy), str(root))) from None
    except (duckdb.Error, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{root}: its journal says what cannot be ({type(error).__name__}: {error}); nothing was taken over"
        ) from None


def take_object(root: Path, sha256: str, objects: Objects, *, size: int | None = None) -> bool:
    """Copy one object of the store at `root`; False where it was there. Raises StoreError for one that is missing,
    damaged or not of its `size`, InputError for a link."""
    place = place_of(sha256)
    try:
        file = open_inside(root, f"objects/{place}")
    except FileNotFoundError:
        raise LostObjectError(f"object {sha256} is missing from {root / 'objects'}") from None
    with file:
        there = os.fstat(file.fileno()).st_size
        if size is not None and there != size:
            raise LostObjectError(f"{root / 'objects' / place} is damaged: it has {there:,} bytes, not {size:,}")
        return objects.take_stream(sha256, file, str(root / "objects" / place), most=there)


def take_store(root: Path, target: Store, on_progress: Progress) -> tuple[str, ...]:
    """Copy the whole store at `root` into `target`, which is new: journal, objects, the book. Gives what is damaged or
    missing there, one sentence each. Raises StoreError where what it says does not hold.
    """
    take_journal(root, target, durably=True)
    with target.catalog.reading() as connection:
        uses = uses_by_object(connection, retired=False)
        sql = "SELECT DISTINCT version_id FROM current_object WHERE NOT is_retired ORDER BY version_id"
        ids = [version_id for (version_id,) in connection.execute(sql).fetchall()]
        versions = [runs.read_version(connection, version_id) for version_id in ids]
    require_room(target.root, (ref for version in versions if version for ref in version.objects))
    problems, done, total = [], 0, sum(using[0].bytes for using in uses.values())
    for sha256, using in uses.items():
        on_progress(done, total)
        try:
            take_object(root, sha256, target.objects, size=using[0].bytes)
        except StoreError as error:
            problems.append(f"{'; '.join(map(str, using))}: {error}")
        done += using[0].bytes
    on_progress(total, total)
    if not problems:
        check_rows(target.objects, (version for version in versions if version), str(root))
    take_foreign_book(root, target.root)
    return tuple(problems)


def take_foreign_book(root: Path, target: Path) -> bool:
    """The book of the store at `root`, which may come from elsewhere, as that of the store at `target`; False where
    there is none. Raises InputError for a link, StoreError as `take_book`."""
    for name in BOOK_FILES:
        with suppress(FileNotFoundError):
            open_inside(root, name).close()
    return take_book(root, target)


def require_room(folder: Path, wanted: Iterable[ObjectRef]) -> None:
    """Raises InputError where the disk has no room for these objects."""
    sizes = {ref.sha256: ref.bytes for ref in wanted if ref.role != "external"}
    size, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if size > free:
        raise InputError(f"{size:,} bytes are to be copied to {folder}, where {free:,} are free; make room first")


@contextmanager
def _collecting_forbidden(root: Path, wait_seconds: float) -> Iterator[None]:
    """Keep the collector of a foreign store out, by its own lock; where there is none, nobody collects."""
    try:
        file = open_inside(root, "gc.lock")
    except (FileNotFoundError, PermissionError):
        yield
        return
    with file:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(f"{root / 'gc.lock'}: somebody holds this lock; try again later") from None
                time.sleep(_POLL_SECONDS)
        yield
