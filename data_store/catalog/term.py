"""One leader's term: what waits in the spool is applied, batch after batch, inside one transaction of DuckDB.

Order of a batch: apply inside the transaction -> append to the journal, fsynced -> remove from the spool, which is the
acknowledgement. Whatever fails in between ends the term: what was acknowledged is in the journal, the rest waits.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from data_store.catalog.events import Event, Rows
from data_store.catalog.journal import APPLIED, Entry, Journal
from data_store.catalog.projection import insert, merge, replay, rows_of, tail
from data_store.catalog.refusals import is_judged, refusal

_BATCH = 500
# How long one leader serves others before it lets somebody else lead: many times what opening the file costs.
_TERM_SECONDS = 0.2
_LINGER_SECONDS = 0.02
# What an event can cause that lies in the event itself, not in the store.
_FAULTS_OF_EVENTS = (
    *(duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException),
    *(KeyError, TypeError, ValueError),
)

Waiting = tuple[Path, Event]


def lead(connection: duckdb.DuckDBPyConnection, journal: Journal, *, crowded: bool) -> None:
    """Catch up with the journal, then serve all that waits for a short while; a `crowded` spool is waited for.

    Raises OSError or duckdb.Error where something cannot be written.
    """
    term = Term(connection, journal, *_catch_up(connection, journal))
    end = time.monotonic() + _TERM_SECONDS
    while batch := _next_batch(journal, _LINGER_SECONDS if crowded else 0.0):
        crowded = crowded or len(batch) > 1
        try:
            term.apply(batch, may_grow=True)
        except _FAULTS_OF_EVENTS:
            # The checks let something through that DuckDB does not take: find it, the others must not suffer.
            term.start_over()
            for single in batch:
                term.apply_or_refuse(single)
        if time.monotonic() > end:
            break
    term.commit()


def _next_batch(journal: Journal, linger_seconds: float) -> list[Waiting]:
    """What waits. With several writers about, those just served are back sooner than a file is opened again."""
    deadline = time.monotonic() + linger_seconds
    while not (batch := journal.pending(_BATCH)) and time.monotonic() < deadline:
        time.sleep(0.002)
    return batch


def _catch_up(connection: duckdb.DuckDBPyConnection, journal: Journal) -> tuple[int, str]:
    """Apply what the journal holds and the catalog does not; gives the end of the chain."""
    seq, prev = tail(connection)
    entries = list(journal.after(seq, prev))
    if entries:
        journal.secure(seq)
        replay(connection, entries)
        seq, prev = entries[-1].seq, entries[-1].sha256
    return seq, prev


@dataclass
class Term:
    """The transaction: the end of the chain so far, and the segment that it appends to.

    A segment ends with the transaction, so that the catalog's end is always the end of a segment.
    """

    connection: duckdb.DuckDBPyConnection
    journal: Journal
    seq: int
    prev: str
    segment: Path | None = None
    is_begun: bool = False

    def commit(self) -> None:
        """Make it visible."""
        if self.is_begun:
            self.connection.commit()
            self.segment, self.is_begun = None, False

    def start_over(self) -> None:
        """Undo a batch that failed; those of the term before it are in the journal."""
        self.connection.rollback()
        self.segment, self.is_begun = None, False
        self.seq, self.prev = _catch_up(self.connection, self.journal)

    def apply_or_refuse(self, item: Waiting) -> None:
        """Apply one event; one that the database does not take is refused."""
        try:
            self.apply([item])
        except _FAULTS_OF_EVENTS as error:
            self.start_over()
            self.apply([item], refuse_all=str(error))

    def apply(self, batch: list[Waiting], refuse_all: str | None = None, *, may_grow: bool = False) -> None:
        """Apply a batch and acknowledge it; one that `may_grow`, with what has come while its turn was waited for."""
        seq, prev = self.seq, self.prev
        entries: list[Entry] = []
        rows: Rows = {}
        if not self.is_begun:
            self.connection.begin()
            self.is_begun = True
        with self.journal.turn(seq, prev) as news:
            batch = self.journal.grown(batch, _BATCH) if may_grow else batch
            waiting = {event["event_id"] for _, event in batch}
            outcomes = self._known(batch)
            for entry in news:
                merge(rows, rows_of(entry))
                seq, prev = entry.seq, entry.sha256
                outcomes |= {entry.event["event_id"]: entry.outcome} if entry.event["event_id"] in waiting else {}
            for _, event in batch:
                if event["event_id"] in outcomes:
                    continue
                if is_judged(event):
                    insert(self.connection, rows)  # it is judged by what those before it did
                    rows = {}
                entry = Entry.after(seq, prev, refuse_all or refusal(self.connection, event) or APPLIED, event)
                merge(rows, rows_of(entry))
                entries.append(entry)
                seq, prev = entry.seq, entry.sha256
            insert(self.connection, rows)
            if entries:
                self.segment = self.journal.append(entries, self.segment)
        self.seq, self.prev = seq, prev
        outcomes.update((entry.event["event_id"], entry.outcome) for entry in entries)
        for event_id, outcome in outcomes.items():
            if outcome != APPLIED:
                self.journal.refuse(event_id, outcome)
        for path, _ in batch:
            path.unlink(missing_ok=True)

    def _known(self, batch: list[Waiting]) -> dict[str, str]:
        """Event → outcome of those that are in the journal: their leader ended before it acknowledged them."""
        ids = [event["event_id"] for _, event in batch]
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT event_id, outcome FROM applied_event WHERE event_id IN ({marks})"  # noqa: S608  (question marks)
        return dict(self.connection.execute(sql, ids).fetchall())
