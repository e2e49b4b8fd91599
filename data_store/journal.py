"""The journal: every transaction as an event, durable before it is visible, chained by hashes.

    spool/<time>-<event>.json    one event waiting to be applied (written to spool/tmp, fsynced, renamed)
    spool/refused/<event>.txt    why an event was refused, for its writer
    journal/<first seq>.jsonl    the applied and refused events, one segment per batch, in order, never changed

Each line of a segment is {"seq", "prev", "outcome", "event", "sha256"}; sha256 is over the canonical JSON of the rest,
and prev is the sha256 of the line before. The journal is the truth; the catalog in DuckDB is a projection of it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_store.encoding import canonical_json, text_hash
from data_store.errors import StoreError
from data_store.events import EVENT_FORMAT, Event
from data_store.locks import remove_stale, write_durably

APPLIED = "applied"
START = "0" * 64
_REPAIR = "`halter repair --from BACKUP` takes it from a backup"
_BROKEN = f"the chain of hashes is broken; {_REPAIR}"


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

    def line(self) -> str:
        """The entry as its line in a segment."""
        return canonical_json(
            {"seq": self.seq, "prev": self.prev, "outcome": self.outcome, "event": self.event, "sha256": self.sha256}
        )


def _chain(seq: int, prev: str, outcome: str, event: Event) -> str:
    return text_hash(canonical_json({"seq": seq, "prev": prev, "outcome": outcome, "event": event}))


class Journal:
    """The files of the journal. Only who holds the catalog's lock may append."""

    def __init__(self, root: Path) -> None:
        self.segments = root / "journal"
        self.spool = root / "spool"
        self.drafts = self.spool / "tmp"
        self.refused = self.spool / "refused"

    def submit(self, event: Event) -> Path:
        """Put an event into the spool, durably; the leader removes the file once the event is applied or refused."""
        target = self.spool / f"{time.time_ns():020d}-{event['event_id']}.json"
        write_durably(target, canonical_json(event).encode(), self.drafts)
        return target

    def pending(self, limit: int) -> list[tuple[Path, Event]]:
        """The oldest waiting events, at most `limit`."""
        return [(path, _read_event(path)) for path in sorted(self.spool.glob("*.json"))[:limit]]

    def append(self, entries: list[Entry]) -> None:
        """Write one batch as a new segment, durably; a segment that exists is never replaced."""
        target = self._segment(entries[0].seq)
        if target.exists():
            raise StoreError(f"{target} exists already; try again, the catalog catches up with it first")
        text = "".join(entry.line() + "\n" for entry in entries)
        write_durably(target, text.encode(), self.drafts)

    def after(self, seq: int, prev: str) -> Iterator[Entry]:
        """The entries behind number `seq`, the chain checked from `prev` on; raises StoreError where it is broken.

        A segment begins where the one before ended, so finding the next costs one look and no listing.
        """
        while (path := self._segment(seq + 1)).exists():
            start = seq
            for number, entry in enumerate(self.read(path), start=1):
                if (entry.seq, entry.prev) != (seq + 1, prev):
                    raise StoreError(f"{path}: line {number}: {_BROKEN}")
                yield entry
                seq, prev = entry.seq, entry.sha256
            if seq == start:
                raise StoreError(f"{path}: it is empty: {_BROKEN}")

    def read(self, segment: Path) -> Iterator[Entry]:
        """The entries of one segment, each checked against its own hash; raises StoreError for one that is broken."""
        for number, line in enumerate(_lines(segment), start=1):
            try:
                entry = Entry(**json.loads(line))
                sound = entry.sha256 == _chain(entry.seq, entry.prev, entry.outcome, entry.event)
            except (TypeError, ValueError):  # it is no JSON, or not of these fields
                sound = False
            if not sound:
                raise StoreError(f"{segment}: line {number}: {_BROKEN}")
            _check_format(entry.event, segment)
            yield entry

    def whole(self, known: tuple[int, str] = (0, START)) -> Iterator[Entry]:
        """All entries. Raises StoreError where the chain is broken, and where it ends before a segment that is there
        or before `known`, the number and the hash of an entry that the journal once held.
        """
        seq, sha256 = 0, START
        for entry in self.after(0, START):
            seq, sha256 = entry.seq, entry.sha256
            if seq == known[0] and sha256 != known[1]:
                raise StoreError(f"{self.segments}: event {seq} is another than the catalog has read; {_REPAIR}")
            yield entry
        if seq < known[0] or any(int(path.stem) > seq for path in self.segments_there()):
            raise StoreError(f"{self._segment(seq + 1)} is missing: the journal has lost segments; {_REPAIR}")

    def goes_on_after(self, seq: int) -> bool:
        """Whether there are entries behind number `seq`."""
        return self._segment(seq + 1).exists()

    def segments_there(self) -> list[Path]:
        """The segments that there are now, oldest first, by listing."""
        return sorted(self.segments.glob("*.jsonl"))

    def refuse(self, event_id: str, reason: str) -> None:
        """Leave word for the writer of a refused event."""
        write_durably(self.refused / f"{event_id}.txt", reason.encode(), self.drafts)

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

    def _segment(self, first_seq: int) -> Path:
        return self.segments / f"{first_seq:012d}.jsonl"


def _lines(path: Path) -> list[bytes]:
    """The lines of a segment; only a newline ends one (str.splitlines would break texts at U+2028 and others)."""
    return path.read_bytes().split(b"\n")[:-1]


def _read_event(path: Path) -> Event:
    try:
        event = json.loads(path.read_bytes())
        if not isinstance(event, dict) or "kind" not in event:
            raise ValueError("it is no event")
    except ValueError as error:
        raise StoreError(f"{path}: not readable ({error}); move it out of the spool, then try again") from None
    _check_format(event, path)
    return event


def _check_format(event: Event, path: Path) -> None:
    if event["format"] > EVENT_FORMAT:
        raise StoreError(
            f"{path}: written by a newer halter (event format {event['format']}, this one knows {EVENT_FORMAT}); "
            f"upgrade halter"
        )
