"""The seal of a backup: how far its journal goes and how much it holds, written last, so that what is lost later shows.

    backup.json         the head of the journal (number and hash of its last event), counts, and a hash over these
    backup.unfinished   there while a backup is being made: one that was cut short is known by it

A journal that has lost its end is sound as far as it goes; only the seal tells. A later backup into the same folder
leaves the seal of the earlier one in place until it has its own: cut short in between, the earlier one is still whole,
and what was added lies behind its end.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from data_store.catalog.journal import Entry, Journal
from data_store.catalog.journal_table import TableJournal
from data_store.catalog.projection import tail
from data_store.commands import halter
from data_store.content.contents import uses_by_object
from data_store.encoding import canonical_json, text_hash
from data_store.errors import InputError, StoreError
from data_store.files import sync_folder, write_durably
from data_store.locks import locked
from data_store.records import now
from data_store.store import Store
from data_store.upkeep.foreign import copied_journal

SEAL_FILE = "backup.json"
UNFINISHED_FILE = "backup.unfinished"
_MOST_BYTES = 65_536


@dataclass(frozen=True)
class Seal:
    """What a backup holds: `sequence` events, the last of which has this hash; the objects of all versions that are to
    be there, `lacking` of them damaged or missing already when it was made.
    """

    sequence: int
    sha256: str
    objects: int
    bytes: int
    lacking: int
    sealed_at: str


def begin(folder: Path) -> None:
    """Note that a backup into the folder has begun."""
    (folder / UNFINISHED_FILE).touch()
    sync_folder(folder)


def seal(copy: Store, lacking: int) -> Seal:
    """Seal the finished backup that lies at `copy`."""
    with copy.catalog.reading() as connection:
        sequence, sha256 = tail(connection)
        sizes = [uses[0].bytes for uses in uses_by_object(connection, retired=False).values()]
    made = Seal(sequence, sha256, len(sizes), sum(sizes), lacking, now().isoformat(timespec="seconds"))
    content = {**asdict(made), "seal": text_hash(canonical_json(asdict(made)))}
    write_durably(copy.root / SEAL_FILE, canonical_json(content).encode(), copy.root / "tmp")
    (copy.root / UNFINISHED_FILE).unlink(missing_ok=True)
    sync_folder(copy.root)
    return made


def read_seal(folder: Path) -> Seal | None:
    """The seal of the backup in the folder, None where it has none. Raises StoreError for one that is damaged."""
    path = folder / SEAL_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    with open(descriptor, "rb") as file:  # noqa: PTH123  (a descriptor)
        content = file.read(_MOST_BYTES)
    try:
        fields = json.loads(content)
        claimed = fields.pop("seal")
        found = Seal(**fields)
        sound = claimed == text_hash(canonical_json(asdict(found))) and datetime.fromisoformat(found.sealed_at)
    except (AttributeError, KeyError, TypeError, ValueError):  # it is no JSON, or not of these fields
        sound = None
    if not sound:
        raise StoreError(f"{path} is damaged, so nobody knows whether the backup is whole; make it again")
    return found


def was_cut_short(folder: Path) -> bool:
    """Whether the last backup into the folder did not come to its end."""
    return (folder / UNFINISHED_FILE).exists()


def notes_of(folder: Path) -> list[str]:
    """What a person has to know of the backup in the folder that is no fault of it, one sentence each."""
    found = read_seal(folder)
    if found is None:
        return [
            f"{folder} has no seal, as backups of earlier versions of Halter: what it holds is verified; whether it "
            f"holds all that was backed up is not known; `{halter('backup', str(folder))}` seals it"
        ]
    if was_cut_short(folder):
        return [
            f"the last backup into {folder} was cut short: the one before, sealed at {found.sealed_at} with event "
            f"{found.sequence}, is whole; of what came later it has a part"
        ]
    return []


def what_is_missing(folder: Path, journal: Journal) -> str | None:
    """What the backup in the folder lacks of what its seal says; `journal` is the backup's, or a copy of it.

    Raises StoreError where the journal's chain is broken.
    """
    found = read_seal(folder)
    if found is None:
        if was_cut_short(folder):
            return f"{folder} is no whole backup: it was cut short; finish it by `{halter('backup', str(folder))}`"
        return None
    last: Entry | None = None
    for entry in journal.whole():
        last = entry
        if entry.seq == found.sequence and entry.sha256 != found.sha256:
            return f"{folder}: event {entry.seq} of its journal is another than the one that was sealed"
    reached = last.seq if last else 0
    if reached < found.sequence:
        return (
            f"{folder} has lost the end of its journal: it ends with event {reached}, and was sealed at "
            f"{found.sealed_at} with event {found.sequence}; the segments from {reached + 1:012d}.jsonl on are "
            f"missing, {found.sequence - reached} events"
        )
    return None


def recover_journal(store: Store, backup: Path) -> tuple[list[str], list[str]]:
    """Take from a backup of this store what its journal has lost or broken, and the store knows no more. Gives the
    names of the segments, and what is to be said of the backup. Raises InputError where it is of another history.
    """
    try:
        with TemporaryDirectory(dir=store.root / "tmp") as place:
            theirs = copied_journal(backup, Path(place))
            missing = what_is_missing(backup, theirs)
            taken = _take_lost_segments(store, backup, theirs)
        return taken, [f"{missing}; taken is what it has"] if missing else notes_of(backup)
    except StoreError as error:  # what it has of sound objects is still of use
        return [], [str(error)]


def _take_lost_segments(store: Store, backup: Path, theirs: Journal) -> list[str]:
    """The segments that the backup has and the store has not, at the end or before, or broken. The catalog is not
    asked: it may be lost with them. `theirs` is a copy of the backup's journal.
    """
    ours = store.catalog.journal
    if isinstance(ours, TableJournal):
        return ours.take_lost(theirs)
    with locked(store.catalog.lock, exclusive=True, wait_seconds=store.catalog.wait_seconds):
        here = {segment.name: _sound_entries(ours, segment) for segment in ours.segments_there()}
        chain = {entry.seq: entry.sha256 for entries in here.values() for entry in entries}
        there = [entry for entry in theirs.whole() if entry.seq in chain]
        apart = [entry.seq for entry in there if entry.sha256 != chain[entry.seq]]
        if apart or not there:
            where = f"event {apart[0]} there is another than here" if apart else "they have no event in common"
            raise InputError(f"{backup} is no backup of this store, or they have gone apart since: {where}")
        taken = []
        for source in theirs.segments_there():
            if len(_sound_entries(theirs, source)) > len(here.get(source.name, ())):
                write_durably(ours.segments / source.name, source.read_bytes(), ours.drafts)
                taken.append(f"journal segment {source.name}")
    return taken


def _sound_entries(journal: Journal, segment: Path) -> list[Entry]:
    """The entries of a segment up to where it is broken."""
    found = []
    with suppress(StoreError):
        for entry in journal.read(segment):
            found.append(entry)
    return found
