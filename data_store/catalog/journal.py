"""The journal: every transaction as an event, durable before it is acknowledged, chained by hashes.

    spool/<time>-<event>.json    one event waiting to be applied (written to spool/tmp, renamed)
    spool/refused/<event>.txt    why an event was refused, for its writer
    journal/<first seq>.jsonl    the applied and refused events in order; a segment is what one leader appended while it
                                 held the catalog's lock, and never changed afterwards

Each line of a segment is {"seq", "prev", "outcome", "event", "sha256"}; sha256 is over the canonical JSON of the rest,
and prev is the sha256 of the line before. The journal is the truth; the catalog in DuckDB is a projection of it.

What waits in the spool outlives its writer, but not a power failure: it is not acknowledged before it is in the
journal, which is fsynced. So a write costs one flush of the disk, shared with all others of its batch. A batch that
does not get into the journal whole, on a full disk for example, is taken out of it again, and waits on. Where even that
fails, or the power does, the segment ends in a line without a newline, which does not count.
"""

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_store.catalog.events import EVENT_FORMAT, Event
from data_store.catalog.others import NobodyElse
from data_store.commands import halter
from data_store.encoding import canonical_json, text_hash
from data_store.errors import BrokenJournalError, StoreError
from data_store.files import append_whole, remove_stale, sync_folder, write_durably

APPLIED = "applied"
START = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One line of the journal."""

    seq: int
    prev: str
    outcome: str
    event: Event
    sha256: str

    @classmethod
    def after(cls, seq: int, prev: str, outcome: str, event: Event) -> "Entry":
        """The entry that follows the one with number `seq` and hash `prev`."""
        return cls(seq + 1, prev, outcome, event, _chain(seq + 1, prev, outcome, event))

    @classmethod
    def parse(cls, line: str | bytes) -> "Entry | None":
        """The entry of a line; None for one that is not sound: no JSON, not of these fields, or not of its hash."""
        try:
            entry = cls(**json.loads(line))
            sound = entry.sha256 == _chain(entry.seq, entry.prev, entry.outcome, entry.event)
        except (TypeError, ValueError):
            return None
        return entry if sound else None

    def line(self) -> str:
        """The entry as its line in a segment."""
        return canonical_json(
            {"seq": self.seq, "prev": self.prev, "outcome": self.outcome, "event": self.event, "sha256": self.sha256}
        )


def _chain(seq: int, prev: str, outcome: str, event: Event) -> str:
    return text_hash(canonical_json({"seq": seq, "prev": prev, "outcome": outcome, "event": event}))


class Journal:
    """The files of the journal. Only who holds the catalog's lock may append.

    The spool is each folder's own, wherever the journal lies.
    """

    others = NobodyElse()

    def __init__(self, root: Path) -> None:
        self.segments = root / "journal"
        self.spool = root / "spool"
        self.drafts = self.spool / "tmp"
        self.refused = self.spool / "refused"

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return str(self.segments)

    @contextmanager
    def turn(self, seq: int, prev: str) -> Iterator[Iterable[Entry]]:
        """The right to append, for the length of the block; gives what others have appended behind the entry with
        number `seq` and hash `prev`. What is appended counts when the block has ended well."""
        yield ()

    def submit(self, event: Event) -> Path:
        """Put an event into the spool; the leader removes the file once the event is in the journal or refused."""
        target = self.spool / f"{time.time_ns():020d}-{event['event_id']}.json"
        self._place(target, canonical_json(event).encode())
        return target

    def keep(self, waiting: Path) -> None:
        """Make an event in the spool durable: its writer goes before it is applied."""
        with waiting.open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(self.spool)

    def pending(self, limit: int) -> list[tuple[Path, Event]]:
        """The oldest waiting events, at most `limit`. One that a power failure cut off is set aside."""
        found = ((path, self._read_event(path)) for path in sorted(self.spool.glob("*.json"))[:limit])
        return [(path, event) for path, event in found if event is not None]

    def grown(self, batch: list[tuple[Path, Event]], limit: int) -> list[tuple[Path, Event]]:
        """The batch of a `turn`, with what has come into the spool while the turn was waited for; none here is."""
        return batch

    def append(self, entries: list[Entry], segment: Path | None = None) -> Path | None:
        """Write a batch, durably, behind what this leader wrote into its `segment` before, or as a new one; gives it.
        Raises OSError where not all of it gets onto the disk: then this leader is done, nothing may follow.

        A segment of another leader is never touched: raises StoreError where a new one exists already.
        """
        text = "".join(entry.line() + "\n" for entry in entries).encode()
        if segment is None:
            segment = self._segment(entries[0].seq)
            if segment.exists():
                raise StoreError(f"{segment} exists already; try again, the catalog catches up with it first")
            write_durably(segment, text, self.drafts)
        else:
            append_whole(segment, text)
        return segment

    def secure(self, seq: int) -> None:
        """Make what lies behind number `seq` durable: who wrote it may have been killed before it was."""
        for segment in self.segments_there():
            if int(segment.stem) > seq:
                with segment.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(self.segments)

    def after(self, seq: int, prev: str) -> Iterator[Entry]:
        """The entries behind number `seq`, the chain checked from `prev` on; raises StoreError where it is broken.

        A segment begins where the one before ended, so finding the next costs one look and no listing.
        """
        while (path := self._segment(seq + 1)).exists():
            start = seq
            for number, entry in enumerate(self.read(path), start=1):
                if (entry.seq, entry.prev) != (seq + 1, prev):
                    raise BrokenJournalError(f"{path}: line {number}: {broken()}")
                yield entry
                seq, prev = entry.seq, entry.sha256
            if seq == start:
                raise BrokenJournalError(f"{path}: it is empty: {broken()}")

    def read(self, segment: Path) -> Iterator[Entry]:
        """The entries of one segment, each checked against its own hash; raises StoreError for one that is broken."""
        for number, line in enumerate(_lines(segment), start=1):
            entry = Entry.parse(line)
            if entry is None:
                raise BrokenJournalError(f"{segment}: line {number}: {broken()}")
            check_format(entry.event, segment)
            yield entry

    def whole(self, known: tuple[int, str] = (0, START)) -> Iterator[Entry]:
        """All entries. Raises StoreError where the chain is broken, and where it ends before a segment that is there
        or before `known`, the number and the hash of an entry that the journal once held.
        """
        seq, sha256 = 0, START
        for entry in self.after(0, START):
            seq, sha256 = entry.seq, entry.sha256
            if seq == known[0] and sha256 != known[1]:
                raise BrokenJournalError(f"{self.place}: event {seq} is another than the catalog has read; {repair()}")
            yield entry
        self._check_end(seq, known[0])

    def _check_end(self, seq: int, known: int) -> None:
        """Raises BrokenJournalError where a journal that ends with number `seq` has once been longer."""
        if seq < known or any(int(path.stem) > seq for path in self.segments_there()):
            raise BrokenJournalError(f"{self._segment(seq + 1)} is missing: the journal has lost segments; {repair()}")

    def reach(self) -> int | None:
        """The number of the newest entry, where others append to it: what is read from now on must hold it."""
        return None

    def goes_on_after(self, seq: int, reach: int | None = None) -> bool:
        """Whether there are entries behind number `seq` (those up to `reach`, where that is given)."""
        return self._segment(seq + 1).exists()

    def segments_there(self) -> list[Path]:
        """The segments that there are now, oldest first, by listing."""
        return sorted(self.segments.glob("*.jsonl"))

    def extent(self) -> Any:
        """How far it goes now, for `copy_to`; nobody may append meanwhile."""
        return self.segments_there()

    def goes_on_from(self, copy: "Journal") -> bool:
        """Whether the journal of an earlier backup is a beginning of this one, to the byte."""
        ours = {segment.name: segment for segment in self.segments_there()}
        earlier = copy.segments_there()
        return all(s.name in ours and ours[s.name].read_bytes() == s.read_bytes() for s in earlier)

    def copy_to(self, copy: "Journal", extent: Any) -> int:
        """Copy what the copy lacks of what there was when `extent` was asked for, durably; gives how many files."""
        files = 0
        for segment in extent:
            place = copy.segments / segment.name
            if not place.exists():
                write_durably(place, segment.read_bytes(), copy.drafts)
                files += 1
        return files

    def refuse(self, event_id: str, reason: str) -> None:
        """Leave word for the writer of a refused event."""
        self._place(self.refused / f"{event_id}.txt", reason.encode())

    def take_refusal(self, event_id: str) -> str | None:
        """Why the event was refused, or None when it was applied; asked once, by its writer."""
        path = self.refused / f"{event_id}.txt"
        try:
            reason = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        path.unlink(missing_ok=True)
        return reason

    def clean(self) -> None:
        """Remove what killed writers left."""
        remove_stale(self.drafts)
        remove_stale(self.refused)

    def _place(self, target: Path, content: bytes) -> None:
        """A whole file or none, for processes that live now."""
        draft = self.drafts / f"{uuid.uuid4().hex}.tmp"
        try:
            draft.write_bytes(content)
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)

    def _read_event(self, path: Path) -> Event | None:
        """An event of the spool; None for one that cannot be read."""
        try:
            event = json.loads(path.read_bytes())
            if not isinstance(event, dict) or "kind" not in event:
                raise ValueError("it is no event")
        except ValueError as error:
            self.refuse(path.stem.rpartition("-")[2], f"{path.name} could not be read ({error}): write it again")
            path.rename(self.refused / path.name)
            return None
        check_format(event, path)
        return event

    def _segment(self, first_seq: int) -> Path:
        return self.segments / f"{first_seq:012d}.jsonl"


def repair() -> str:
    """What to do about a broken journal."""
    return f"`{halter('repair', '--from', 'BACKUP')}` takes it from a backup"


def broken() -> str:
    """What is wrong, and what to do."""
    return f"the chain of hashes is broken; {repair()}"


def _lines(path: Path) -> list[bytes]:
    """The lines of a segment; only a newline ends one (str.splitlines would break texts at U+2028 and others)."""
    return path.read_bytes().split(b"\n")[:-1]


def check_format(event: Event, path: Path | str) -> None:
    """Raises StoreError for an event that a newer halter wrote."""
    if event["format"] > EVENT_FORMAT:
        raise StoreError(
            f"{path}: written by a newer halter (event format {event['format']}, this one knows {EVENT_FORMAT}); "
            f"upgrade halter"
        )
