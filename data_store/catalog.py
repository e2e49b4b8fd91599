"""The catalog: a DuckDB file that is a projection of the journal.

One process may write a DuckDB file, so writers do not compete for it: each puts its event into the spool, and whoever
holds the lock on the sidecar file (the leader) applies everything that waits, in one commit. Order of a batch: apply
inside a transaction -> append to the journal, fsynced -> commit -> remove from the spool. Killed in between, the next
leader finds the journal ahead of the catalog and catches up, or finds events in the spool that the journal holds and
drops them.

Nobody keeps a connection between two calls. Nothing but this module opens the file: DuckDB's own lock is POSIX, and any
open and close of the file in the owning process would drop it.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data_store.errors import InputError, StoreError
from data_store.events import TABLES, Event, Rows, project, refusal
from data_store.journal import APPLIED, START, Entry, Journal
from data_store.locks import LOCK_WAIT_SECONDS, locked, sync_folder, take_lock, try_lock, unlock
from data_store.records import now
from data_store.schema import statements

_BATCH = 500
_ROUNDS = 8  # batches that one leader applies before it lets somebody else lead
_LINGER_SECONDS = 0.01
_REPLAY_BATCH = 5000
# One configuration for all connections: within one process DuckDB refuses to open a file twice in different ways.
# 2.0 writes a format that 1.5 can open. One thread: opening is most of the work, and it costs a third less.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"storage_compatibility_version": "v1.5.0", "threads": 1}
# What an event can cause that lies in the event itself, not in the store.
_FAULTS_OF_EVENTS = (
    *(duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException),
    *(KeyError, TypeError, ValueError),
)
_DAMAGE = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)


class Catalog:
    """Reads and writes of the catalog of the store at `root`."""

    def __init__(self, root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self.root = root
        self.file = root / "catalog.duckdb"
        self.lock = root / "catalog.lock"
        self.journal = Journal(root)
        self.wait_seconds = wait_seconds

    def write(self, event: Event) -> None:
        """Apply one event; returns when it is durable and visible.

        Raises InputError when the catalog refuses it, StoreError when the lock is not to be had in time (the event then
        stays in the spool and is applied by the next writer).
        """
        try:
            waiting = self.journal.submit(event)
        except (TypeError, ValueError) as error:
            raise InputError(f"{event['kind']}: config and env must be plain JSON values ({error})") from None
        deadline = time.monotonic() + self.wait_seconds
        pause = 0.001
        while waiting.exists():
            lock = try_lock(self.lock, exclusive=True)
            if lock is not None:
                try:
                    self._drain()
                finally:
                    unlock(lock)
            elif time.monotonic() > deadline:
                raise StoreError(
                    f"{self.lock}: somebody has held this lock for {self.wait_seconds:g} s; the write waits in "
                    f"{waiting} and will be applied by the next writer; look for a halter process that hangs"
                )
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.02)
        if reason := self.journal.take_refusal(event["event_id"]):
            raise InputError(reason)

    def settle(self) -> None:
        """Create or migrate the catalog and apply whatever waits; raises StoreError for a newer schema."""
        with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
            self._drain()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection for the length of the block; many may read at once, writers wait.

        Raises StoreError when the catalog cannot be opened. Do not write inside the block.
        """
        try:
            connection, lock = self._open_for_reading()
        except (FileNotFoundError, _DamagedError):
            self.settle()
            connection, lock = self._open_for_reading()
        try:
            yield connection
        finally:
            connection.close()
            unlock(lock)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query of our own."""
        with self.reading() as connection:
            return connection.execute(sql, list(parameters)).fetchall()

    def rebuild(self) -> None:
        """Make the catalog anew from the journal."""
        with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
            self._rebuild()
            self._drain()

    def _open_for_reading(self) -> tuple[duckdb.DuckDBPyConnection, int]:
        lock = take_lock(self.lock, exclusive=False, wait_seconds=self.wait_seconds)
        try:
            if not self.file.exists():
                raise FileNotFoundError(self.file)
            return self._connect(read_only=True), lock
        except BaseException:
            unlock(lock)
            raise

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + 10.0
        while True:
            try:
                return duckdb.connect(str(self.file), read_only=read_only, config=_CONFIG)
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
        found = _migrations_in(connection)
        wanted = [(n, sha256) for n, _, sha256 in statements()]
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

    def _drain(self) -> None:
        connection = self._open_for_writing()
        try:
            seq, prev = _tail(connection)
            entries = list(self.journal.after(seq, prev))
            if entries:
                replay(connection, entries)
                seq, prev = entries[-1].seq, entries[-1].sha256
            for _ in range(_ROUNDS):
                batch = self.journal.pending(_BATCH)
                if not batch:
                    break
                # Several writers at once: those just served will be back in a moment, sooner than a file is reopened.
                crowded = len(batch) > 1
                try:
                    seq, prev = self._apply(connection, batch, seq, prev)
                except _FAULTS_OF_EVENTS:
                    # The checks let something through that DuckDB does not take: find it, the others must not suffer.
                    connection.rollback()
                    for single in batch:
                        seq, prev = self._apply_or_refuse(connection, single, seq, prev)
                if crowded:
                    time.sleep(_LINGER_SECONDS)
        finally:
            connection.close()

    def _apply_or_refuse(
        self, connection: duckdb.DuckDBPyConnection, item: tuple[Path, Event], seq: int, prev: str
    ) -> tuple[int, str]:
        try:
            return self._apply(connection, [item], seq, prev)
        except _FAULTS_OF_EVENTS as error:
            connection.rollback()
            return self._apply(connection, [item], seq, prev, refuse_all=str(error))

    def _apply(
        self,
        connection: duckdb.DuckDBPyConnection,
        batch: list[tuple[Path, Event]],
        seq: int,
        prev: str,
        refuse_all: str | None = None,
    ) -> tuple[int, str]:
        """Apply a batch in one commit; gives the new end of the chain."""
        entries: list[Entry] = []
        connection.begin()
        for _, event in batch:
            known = "SELECT 1 FROM applied_event WHERE event_id = ?"
            if connection.execute(known, [event["event_id"]]).fetchone():
                continue
            entry = Entry.after(seq, prev, refuse_all or refusal(connection, event) or APPLIED, event)
            insert(connection, _rows_of(entry))
            entries.append(entry)
            seq, prev = entry.seq, entry.sha256
        if entries:
            self.journal.append(entries)
        connection.commit()
        for entry in entries:
            if entry.outcome != APPLIED:
                self.journal.refuse(entry.event["event_id"], entry.outcome)
        for path, _ in batch:
            path.unlink(missing_ok=True)
        return seq, prev

    def _rebuild(self) -> None:
        draft = self.root / "tmp" / f"{uuid.uuid4().hex}.duckdb"
        build(draft, self.journal.after(0, START))
        # First the old ones away, then the new one in: an old write-ahead log must never meet the new file.
        self.file.unlink(missing_ok=True)
        self.file.with_name("catalog.duckdb.wal").unlink(missing_ok=True)
        draft.rename(self.file)
        sync_folder(self.root)


class _DamagedError(Exception):
    """The catalog's file is not sound; the journal can make it anew."""


def build(file: Path, entries: Iterable[Entry], upto: int | None = None) -> None:
    """Write a new catalog file of the first `upto` migrations (all by default) with these entries applied."""
    connection = duckdb.connect(str(file), config=_CONFIG)
    try:
        connection.execute("CREATE TABLE migration (n INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, applied_at TIMESTAMP)")
        for n, sql, sha256 in statements(upto):
            connection.execute(sql)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", [n, sha256, now().replace(tzinfo=None)])
        replay(connection, entries)
        connection.execute("CHECKPOINT")
    finally:
        connection.close()


def replay(connection: duckdb.DuckDBPyConnection, entries: Iterable[Entry]) -> None:
    """Apply journal entries as their outcomes say, without judging them again."""
    rows: Rows = {}
    count = 0
    connection.begin()
    for count, entry in enumerate(entries, start=1):
        for table, values in _rows_of(entry).items():
            rows.setdefault(table, []).extend(values)
        if count % _REPLAY_BATCH == 0:
            insert(connection, rows)
            rows = {}
    insert(connection, rows)
    connection.commit()


def insert(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Add rows to their tables; facts that may come again (an asset, a version) are added once."""
    for table, values in rows.items():
        columns, again = TABLES[table]
        unique = list(dict.fromkeys(values)) if again else values
        if len(unique) < 100:
            marks = ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * len(unique))
            source, parameters = f"VALUES {marks}", [value for row in unique for value in row]
        else:
            by_column = zip(*unique, strict=True)
            connection.register("incoming", pa.table({n: list(c) for n, c in zip(columns, by_column, strict=True)}))
            source, parameters = "FROM incoming", []
        conflict = "ON CONFLICT DO NOTHING" if again else ""
        connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) {source} {conflict}", parameters)
        if not parameters:
            connection.unregister("incoming")


def _rows_of(entry: Entry) -> Rows:
    rows = project(entry.event, entry.seq) if entry.outcome == APPLIED else {}
    rows["applied_event"] = [(entry.event["event_id"], entry.seq, entry.prev, entry.sha256, entry.outcome)]
    return rows


def _tail(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    found = connection.execute("SELECT seq, sha256 FROM applied_event ORDER BY seq DESC LIMIT 1").fetchone()
    return (int(found[0]), str(found[1])) if found else (0, START)


def _migrations_in(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    try:
        return connection.execute("SELECT n, sha256 FROM migration ORDER BY n").fetchall()
    except duckdb.CatalogException:
        return []
