"""Moving a store's journal to PostgreSQL and back, and making a folder on another machine that shares it.

All entries are copied and the chain of the copy is followed to the same end before `places.json` is written, by one
rename, and counts. Killed at any moment, the same call goes on: what is there already must be a beginning of what is
copied. A table is open only while it is the journal, so nobody writes into one that is being filled or was left.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from data_store.catalog.entry_table import FILLING, LEFT, OPEN, store_at
from data_store.catalog.journal import START, Entry, Journal
from data_store.catalog.journal_table import TableJournal
from data_store.catalog.postgres import Address
from data_store.catalog.projection import tail
from data_store.errors import InputError, StoreError
from data_store.files import sync_folder
from data_store.layout import prepare
from data_store.locks import locked
from data_store.places import PLACES_FILE, read_places, write_places
from data_store.store import Store

_AT_ONCE = 2000
_SEGMENT = 5000


@dataclass(frozen=True)
class Moved:
    """Where the journal lies now and lay before, and how many events it holds."""

    place: str
    before: str
    entries: int


def move_journal(store: Store, url: str, *, remove_old: bool = False) -> Moved:
    """Move the journal from the store's folder to a table at `url`; nobody may be at work on the store. The segments
    stay in the folder unless `remove_old`.

    Raises InputError for an address that is none, holds a password or another store's journal, and where the journal
    lies elsewhere already; StoreError where the server does not answer or the copy is not the same.
    """
    address, places = Address.parse(url), read_places(store.root)
    wait_seconds = store.catalog.wait_seconds
    folder, journal = Journal(store.root), store.catalog.journal
    if isinstance(journal, TableJournal):
        if journal.table.address != address:
            raise InputError(f"the journal lies on {journal.place}: `--journal here` brings it back first")
        if journal.table.state() == LEFT:
            raise InputError(
                f"the journal on {journal.place} is being moved away: `--journal here` on that machine goes on"
            )
    else:
        identity = places.store or uuid.uuid4().hex
        journal = TableJournal(store.root, url, identity, wait_seconds)
        journal.table.check_reachable()
        if places.store is None:  # before the table says so: a move that is cut off must know its own
            write_places(store.root, places.model_copy(update={"store": identity}))
        journal.table.lay_out()
        with locked(store.catalog.lock, exclusive=True, wait_seconds=wait_seconds):
            journal.table.set_state(FILLING)
            _fill(journal, folder)
            write_places(store.root, read_places(store.root).model_copy(update={"journal": url}))
    journal.table.set_state(OPEN)
    if remove_old:
        _remove_segments(folder)
    return Moved(journal.place, folder.place, journal.reach())


def bring_journal_back(store: Store, *, remove_old: bool = False) -> Moved:
    """Move the journal from a table into the store's folder; the other machines that share it can write no more. The
    table stays, closed, unless `remove_old`.

    One that lies in the folder is left as it is. Raises InputError where the folder holds other events, StoreError
    where the server does not answer or the copy is not the same.
    """
    folder, journal = Journal(store.root), store.catalog.journal
    if not isinstance(journal, TableJournal):
        return Moved(folder.place, folder.place, store.catalog.seq())
    with store.catalog.reading() as connection:
        read = tail(connection)[0]
    with locked(store.catalog.lock, exclusive=True, wait_seconds=store.catalog.wait_seconds):
        journal.table.set_state(LEFT)
        end = _take_out(journal, folder, read)
        write_places(store.root, read_places(store.root).model_copy(update={"journal": None}))
    if remove_old:
        journal.table.remove()
    return Moved(folder.place, journal.place, end[0])


def join(root: Path, url: str, objects: str | None) -> Store:
    """Make the absent or empty folder `root` a store that shares the journal at `url`, whose objects lie at `objects`
    (None: in the folder), and read all of the journal into its catalog.

    Raises InputError where there is no journal, and where the folder is another store.
    """
    address = Address.parse(url)
    identity = store_at(address)
    prepare(root)
    places = read_places(root)
    if places.journal is None and next(Journal(root).after(0, START), None) is not None:
        raise InputError(f"{root} is a store that has a journal of its own: give another name, or remove it")
    if places.journal is not None and (Address.parse(places.journal), places.store) != (address, identity):
        raise InputError(f"{root / PLACES_FILE} names another journal, {places.journal}: give another name")
    joined = places.model_copy(update={"journal": url, "store": identity, "objects": objects or places.objects})
    if joined != places:
        write_places(root, joined)
    return Store.open(root)


def _fill(journal: TableJournal, folder: Journal) -> None:
    """Put what the folder's journal holds into the table. Raises InputError where the table holds something else."""
    there, end = journal.table.end(), (0, START)
    some: list[Entry] = []
    for entry in folder.whole():
        end = (entry.seq, entry.sha256)
        if entry.seq == there[0] and end != there:
            break
        if entry.seq > there[0]:
            some.append(entry)
        if len(some) == _AT_ONCE:
            journal.table.put_in(some)
            some = []
    if end[0] < there[0] or (end[0] == there[0] and end != there):
        raise InputError(
            f"{journal.place} holds other events than {folder.place}, they have gone apart: give another schema of the "
            "database by ?schema=NAME"
        )
    if some:
        journal.table.put_in(some)
    _check_copy(journal, end)


def _take_out(journal: TableJournal, folder: Journal, read: int) -> tuple[int, str]:
    """Put what the table holds into segments in the folder; gives the end. What the catalog has `read` ends where a
    segment ends. Raises InputError where the folder holds something else."""
    end = (0, START)
    for entry in folder.whole():
        end = (entry.seq, entry.sha256)
    if not journal.table.holds(*end):
        raise InputError(
            f"{folder.place} holds other events than {journal.place}: move what lies there away, then do it again"
        )
    some: list[Entry] = []
    for entry in journal.after(*end):
        some.append(entry)
        end = (entry.seq, entry.sha256)
        if entry.seq == read or len(some) == _SEGMENT:
            folder.append(some)
            some = []
    if some:
        folder.append(some)
    _check_copy(folder, end)
    return end


def _check_copy(copy: Journal, end: tuple[int, str]) -> None:
    """Raises StoreError where the copy, followed from its start, does not end with this entry."""
    found = (0, START)
    for entry in copy.whole(end):
        found = (entry.seq, entry.sha256)
    if found != end:
        raise StoreError(
            f"{copy.place} ends with event {found[0]} and should end with {end[0]}: nothing was moved; do it again"
        )


def _remove_segments(folder: Journal) -> None:
    for segment in folder.segments_there():
        segment.unlink()
    sync_folder(folder.segments)
