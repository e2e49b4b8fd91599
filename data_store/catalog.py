"""The catalog: a DuckDB file that is a projection of the journal.

One process may write a DuckDB file, so writers do not compete for it: each puts its event into the spool, and whoever
holds the lock on the sidecar file (the leader) applies everything that waits, batch after batch, for a short term.
Order of a batch: apply inside the term's transaction -> append to the journal, fsynced -> remove from the spool, which
is the acknowledgement. The transaction is committed at the end of the term, before the lock is let go: so readers, who
take the lock shared, see whatever was acknowledged. Killed in between, the journal is ahead of the catalog, and the
next leader or reader catches up; or events in the spool are in the journal already, and the next leader drops them.

Nobody keeps a connection between two calls. Nothing but this module opens the file: DuckDB's own lock is POSIX, and any
open and close of the file in the owning process would drop it.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from data_store.errors import InputError, StoreError
from data_store.events import Event, Rows, is_judged, refusal
from data_store.files import sync_folder
from data_store.journal import APPLIED, START, Entry, Journal
from data_store.locks import LOCK_WAIT_SECONDS, POLL_SECONDS, locked, take_lock, try_lock, unlock
from data_store.projection import (
    CONFIG,
    build,
    insert,
    last_seq,
    merge,
    migrations_in,
    migrations_wanted,
    replay,
    rows_of,
    tail,
)

_BATCH = 500
# How long one leader serves others before it lets somebody else lead: many times what opening the file costs.
_TERM_SECONDS = 0.2
_LINGER_SECONDS = 0.02
_CATCH_UPS = 10
# What an event can cause that lies in the event itself, not in the store.
_FAULTS_OF_EVENTS = (
    *(duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException),
    *(KeyError, TypeError, ValueError),
)
_OTHER_PROGRAM_SECONDS = 10.0
_Answer = TypeVar("_Answer")
_DAMAGE = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)


class Catalog:
    """Reads and writes of the catalog of the store at `root`."""

    def __init__(self, root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self.root = root
        self.file = root / "catalog.duckdb"
        self.lock = root / "catalog.lock"
        self.journal = Journal(root)
        self.wait_seconds = wait_seconds
        self._own = threading.local()  # the connection of a block that this thread is in

    def write(self, event: Event) -> None:
        """Apply one event; returns when it is durable and visible.

        Raises InputError when the catalog refuses it, StoreError when the lock is not to be had in time (the event then
        stays in the spool and is applied by the next writer) or the database cannot be written, for want of room.
        """
        if self._is_reading:
            raise RuntimeError("a write inside a block that reads would wait for the end of that block")
        try:
            waiting = self.journal.submit(event)
        except (TypeError, ValueError) as error:
            raise InputError(f"{event['kind']}: config and env must be plain JSON values ({error})") from None
        deadline = time.monotonic() + self.wait_seconds
        pause = 0.001
        contended = False
        while waiting.exists():
            lock = try_lock(self.lock, exclusive=True)
            contended = contended or lock is None
            if lock is not None:
                try:
                    self._drain(crowded=contended)
                except duckdb.Error as error:  # a full disk, for example; nothing of it is visible
                    raise StoreError(
                        f"{self.file} cannot be written: {error}; the write waits in {waiting} and will be applied by "
                        "the next writer that can"
                    ) from error
                finally:
                    unlock(lock)
            elif time.monotonic() > deadline:
                try:
                    self.journal.keep(waiting)
                except FileNotFoundError:
                    break  # applied this very moment
                raise StoreError(
                    f"{self.lock}: somebody has held this lock for {self.wait_seconds:g} s; the write waits in "
                    f"{waiting} and will be applied by the next writer; look for a halter process that hangs"
                )
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, POLL_SECONDS)
        if reason := self.journal.take_refusal(event["event_id"]):
            raise InputError(reason)

    def settle(self) -> None:
        """Create or migrate the catalog and apply whatever waits; raises StoreError for a newer schema."""
        if self._is_settled():
            return
        with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
            self._drain()

    def _is_settled(self) -> bool:
        """Whether there is nothing to do; readers do not exclude each other, so many processes can open at once."""
        try:
            connection, lock = self._open_for_reading()
        except _BehindError:
            return False
        try:
            return migrations_in(connection) == migrations_wanted() and not self.journal.pending(1)
        finally:
            connection.close()
            unlock(lock)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection for the length of the block; many may read at once, writers wait. A block inside
        another one of the same thread reads the same state.

        Raises StoreError when the catalog cannot be opened. A write inside the block raises RuntimeError.
        """
        if self._is_reading:
            yield self._own.connection
            return
        for _ in range(_CATCH_UPS):
            try:
                connection, lock = self._open_for_reading()
            except _BehindError:
                self.settle()
            else:
                break
        else:
            raise StoreError(f"{self.file} does not catch up with the journal: writers are killed again and again")
        self._own.connection, self._own.answers = connection, {}
        try:
            yield connection
        finally:
            self._own.connection = None
            connection.close()
            unlock(lock)

    def ask(self, what: str, question: Callable[[duckdb.DuckDBPyConnection], _Answer]) -> _Answer:
        """The answer to a question of our own; within one block it is asked once, for the state stays the same. Nobody
        may change what is given."""
        with self.reading() as connection:
            answers: dict[str, Any] = self._own.answers
            if what not in answers:
                answers[what] = question(connection)
            answer: _Answer = answers[what]
            return answer

    @property
    def _is_reading(self) -> bool:
        return getattr(self._own, "connection", None) is not None

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query of our own."""
        with self.reading() as connection:
            return connection.execute(sql, list(parameters)).fetchall()

    def seq(self) -> int:
        """The number of the newest event that there is."""
        with self.reading() as connection:
            return last_seq(connection)

    def is_newest(self, seq: int) -> bool:
        """Whether nothing has happened since event number `seq`, the newest of some state that was read. Nothing is
        opened for that: it costs one look at the journal's folder."""
        return not self.journal.goes_on_after(seq)

    def rebuild(self) -> None:
        """Make the catalog anew from the journal."""
        with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
            self._rebuild()
            self._drain()

    def _open_for_reading(self) -> tuple[duckdb.DuckDBPyConnection, int]:
        """A connection to a catalog that holds the whole journal, and the lock; raises _BehindError for any other."""
        lock = take_lock(self.lock, exclusive=False, wait_seconds=self.wait_seconds)
        try:
            if not self.file.exists():
                raise _BehindError(f"{self.file} is missing")
            connection = self._connect(read_only=True)
            try:
                if self.journal.goes_on_after(last_seq(connection)):
                    raise _BehindError("a leader was killed before its commit")
            except BaseException as error:
                connection.close()
                if isinstance(error, duckdb.CatalogException):
                    raise _BehindError(f"{self.file} has no tables") from error
                raise
            return connection, lock
        except BaseException:
            unlock(lock)
            raise

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + min(_OTHER_PROGRAM_SECONDS, self.wait_seconds)
        while True:
            try:
                return duckdb.connect(str(self.file), read_only=read_only, config=CONFIG)
            except _DAMAGE as error:
                raise _DamagedError(str(error)) from error
            except duckdb.IOException as error:
                if "not a valid DuckDB database file" in str(error) or "orrupt" in str(error):
                    raise _DamagedError(str(error)) from error
                if "set lock on file" not in str(error):
                    raise StoreError(f"{self.file} cannot be opened: {error}") from error
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{self.file} is open in another program; close it and use `halter query` ({error})"
                    ) from None
                time.sleep(0.05)

    def _open_for_writing(self) -> duckdb.DuckDBPyConnection:
        """A connection to a catalog of today's schema; one that is missing, older or damaged is rebuilt first."""
        if not self.file.exists():
            self._rebuild()
        try:
            connection = self._connect(read_only=False)
        except _DamagedError:
            self.file.rename(self.file.with_name(f"damaged-{uuid.uuid4().hex}.duckdb"))
            self._rebuild()
            return self._connect(read_only=False)
        found = migrations_in(connection)
        wanted = migrations_wanted()
        if len(found) > len(wanted):
            connection.close()
            raise StoreError(
                f"{self.file} has schema {len(found)}, this halter knows {len(wanted)}: a newer halter wrote it; "
                f"upgrade halter or open another store"
            )
        if found != wanted:
            connection.close()
            self._rebuild()
            connection = self._connect(read_only=False)
        return connection

    def _known_tail(self) -> tuple[int, str]:
        """What the present file has read of the journal: a new one must not know less."""
        if not self.file.exists():
            return 0, START
        try:
            connection = self._connect(read_only=True)
        except _DamagedError:
            return 0, START
        try:
            return tail(connection)
        except duckdb.CatalogException:  # the file was never laid out
            return 0, START
        finally:
            connection.close()

    def _drain(self, *, crowded: bool = False) -> None:
        connection = self._open_for_writing()
        try:
            term = _Term(connection, *self._catch_up(connection))
            end = time.monotonic() + _TERM_SECONDS
            while batch := self._next_batch(_LINGER_SECONDS if crowded else 0.0):
                crowded = crowded or len(batch) > 1
                try:
                    self._apply(term, batch)
                except _FAULTS_OF_EVENTS:
                    # The checks let something through that DuckDB does not take: find it, the others must not suffer.
                    self._start_over(term)
                    for single in batch:
                        self._apply_or_refuse(term, single)
                if time.monotonic() > end:
                    break
            term.commit()
        finally:
            connection.close()

    def _catch_up(self, connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
        """Apply what the journal holds and the catalog does not; gives the end of the chain."""
        seq, prev = tail(connection)
        entries = list(self.journal.after(seq, prev))
        if entries:
            replay(connection, entries)
            seq, prev = entries[-1].seq, entries[-1].sha256
        return seq, prev

    def _start_over(self, term: "_Term") -> None:
        """Undo a batch that failed; those of the term before it are in the journal."""
        term.connection.rollback()
        term.segment, term.is_begun = None, False
        term.seq, term.prev = self._catch_up(term.connection)

    def _next_batch(self, linger_seconds: float) -> list[tuple[Path, Event]]:
        """What waits. With several writers about, those just served are back sooner than a file is opened again."""
        deadline = time.monotonic() + linger_seconds
        while not (batch := self.journal.pending(_BATCH)) and time.monotonic() < deadline:
            time.sleep(0.002)
        return batch

    def _apply_or_refuse(self, term: "_Term", item: tuple[Path, Event]) -> None:
        try:
            self._apply(term, [item])
        except _FAULTS_OF_EVENTS as error:
            self._start_over(term)
            self._apply(term, [item], refuse_all=str(error))

    def _apply(self, term: "_Term", batch: list[tuple[Path, Event]], refuse_all: str | None = None) -> None:
        """Apply a batch and acknowledge it."""
        connection, seq, prev = term.connection, term.seq, term.prev
        entries: list[Entry] = []
        rows: Rows = {}
        term.begin()
        ids = [event["event_id"] for _, event in batch]
        marks = ", ".join("?" * len(ids))
        known = f"SELECT event_id FROM applied_event WHERE event_id IN ({marks})"  # noqa: S608  (question marks)
        done = {event_id for (event_id,) in connection.execute(known, ids).fetchall()}
        for _, event in batch:
            if event["event_id"] in done:
                continue
            if is_judged(event):
                insert(connection, rows)  # it is judged by what those before it did
                rows = {}
            entry = Entry.after(seq, prev, refuse_all or refusal(connection, event) or APPLIED, event)
            merge(rows, rows_of(entry))
            entries.append(entry)
            seq, prev = entry.seq, entry.sha256
        insert(connection, rows)
        if entries:
            term.segment = self.journal.append(entries, term.segment)
            term.seq, term.prev = seq, prev
        for entry in entries:
            if entry.outcome != APPLIED:
                self.journal.refuse(entry.event["event_id"], entry.outcome)
        for path, _ in batch:
            path.unlink(missing_ok=True)

    def _rebuild(self) -> None:
        draft = self.root / "tmp" / f"{uuid.uuid4().hex}.duckdb"
        build(draft, self.journal.whole(self._known_tail()))
        # First the old ones away, then the new one in: an old write-ahead log must never meet the new file.
        self.file.unlink(missing_ok=True)
        self.file.with_name("catalog.duckdb.wal").unlink(missing_ok=True)
        draft.rename(self.file)
        sync_folder(self.root)


@dataclass
class _Term:
    """One leader's transaction: the end of the chain so far, and the segment it appends to.

    A segment ends with the transaction, so that the catalog's end is always the end of a segment.
    """

    connection: duckdb.DuckDBPyConnection
    seq: int
    prev: str
    segment: Path | None = None
    is_begun: bool = False

    def begin(self) -> None:
        if not self.is_begun:
            self.connection.begin()
            self.is_begun = True

    def commit(self) -> None:
        if self.is_begun:
            self.connection.commit()
            self.segment, self.is_begun = None, False


class _BehindError(Exception):
    """The catalog does not hold all that the journal holds."""


class _DamagedError(_BehindError):
    """The catalog's file is not sound; the journal can make it anew."""
