"""The catalog: a DuckDB file that is a projection of the journal.

One process may write a DuckDB file, so writers do not compete for it: each puts its event into the spool, and whoever
holds the lock on the sidecar file (the leader) applies everything that waits, batch after batch, for a short term.
Order of a batch: apply inside the term's transaction -> append to the journal, fsynced -> remove from the spool, which
is the acknowledgement. The transaction is committed at the end of the term, before the lock is let go: so readers, who
take the lock shared, see whatever was acknowledged. Killed in between, the journal is ahead of the catalog, and the
next leader or reader catches up; or events in the spool are in the journal already, and the next leader drops them.

A file that is damaged, wherever that comes to light, is made anew from the journal, once. Where it can be neither made
anew nor caught up with, on a full disk for example, readers read the journal itself, into memory.

Nobody keeps a connection between two calls. Nothing but `CatalogFile` opens the file: DuckDB's own lock is POSIX, and
any open and close of the file in the owning process would drop it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb

from data_store.catalog.catalog_file import CatalogFile
from data_store.catalog.events import Event
from data_store.catalog.journals import journal_of
from data_store.catalog.postgres import tries
from data_store.catalog.projection import build_in_memory, last_seq, migrations_in, migrations_wanted
from data_store.damage import DamagedError, SteadyReader, means_damage
from data_store.errors import InputError, StoreError, UnreachableError, UnwritableError
from data_store.locks import LOCK_WAIT_SECONDS, POLL_SECONDS, locked, take_lock, try_lock, unlock
from data_store.read_only import check_writable, is_read_only

_CATCH_UPS = 10
_MENDING_SECONDS = 10.0
_SERVER_PAUSE_SECONDS = 0.2
_Answer = TypeVar("_Answer")


class Catalog:
    """Reads and writes of the catalog of the store at `root`."""

    def __init__(self, root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self.root = root
        self.lock = root / "catalog.lock"
        self.journal = journal_of(root, wait_seconds)
        self._of = CatalogFile(root, self.journal, wait_seconds)
        self.file = self._of.path
        self._own = threading.local()  # the connection of a block that this thread is in
        self.read_only = is_read_only(root)
        self._in_memory: duckdb.DuckDBPyConnection | None = None  # where the file lacks some and cannot catch up

    @property
    def wait_seconds(self) -> float:
        """How long a lock is waited for."""
        return self._of.wait_seconds

    @wait_seconds.setter
    def wait_seconds(self, seconds: float) -> None:
        self._of.wait_seconds = seconds

    def write(self, event: Event) -> None:
        """Apply one event; returns when it is durable and visible.

        Raises InputError when the catalog refuses it, StoreError when the lock is not to be had in time or the server
        that holds the journal does not answer, UnwritableError when there is no room; in all three cases the event, if
        it got into the spool, is applied by the next writer that can.
        """
        if self._is_reading:
            raise RuntimeError("a write inside a block that reads would wait for the end of that block")
        check_writable(self.root)
        try:
            waiting = self.journal.submit(event)
        except (TypeError, ValueError) as error:
            raise InputError(f"{event['kind']}: config and env must be plain JSON values ({error})") from None
        except OSError as error:
            raise UnwritableError(f"{self.root} cannot be written: {error}; nothing was changed") from error
        deadline = time.monotonic() + self.wait_seconds
        pause = 0.001
        contended = False
        while waiting.exists():
            lock = try_lock(self.lock, exclusive=True)
            contended = contended or lock is None
            if lock is not None:
                try:
                    self._of.drain(crowded=contended)
                except UnwritableError as error:
                    if waiting.exists():  # else it is in the journal, and that is what counts
                        raise UnwritableError(
                            f"{error}; the write waits in {waiting} and will be applied by the next writer that can"
                        ) from error
                except UnreachableError as error:
                    if waiting.exists():
                        self._wait_for_the_server(error, waiting, deadline)
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

    def _wait_for_the_server(self, error: UnreachableError, waiting: Path, deadline: float) -> None:
        """A moment, for another try; raises the error where there is to be none."""
        if error.is_passing and time.monotonic() < deadline:
            time.sleep(_SERVER_PAUSE_SECONDS)
            return
        with suppress(FileNotFoundError):
            self.journal.keep(waiting)
        raise UnreachableError(f"{error}; the write waits in {waiting} and will be applied by the next writer")

    def settle(self) -> None:
        """Create or migrate the catalog and apply whatever waits; raises StoreError for a newer schema and for a server
        that does not answer for long, UnwritableError where there is no room. A store that cannot be written to stays
        as it is.
        """
        if self.read_only or self._is_settled():
            return None
        for _ in tries(self.wait_seconds):
            with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
                try:
                    return self._of.drain()
                except UnreachableError as error:
                    if not error.is_passing:
                        raise
                    last = error
        raise last

    def _is_settled(self) -> bool:
        """Whether there is nothing to do; readers do not exclude each other, so many processes can open at once."""
        try:
            connection, lock = self._open_for_reading()
        except (_BehindError, DamagedError):
            return False
        try:
            return migrations_in(connection) == migrations_wanted() and not self.journal.pending(1)
        except duckdb.Error as error:
            if not means_damage(error):
                raise
            return False
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
        reader, lock, seen = self._reader()
        # Those who ask, ask a leader's connection as well, in the same words.
        self._own.connection = cast("duckdb.DuckDBPyConnection", reader)
        self._own.answers = {}
        try:
            yield self._own.connection
        finally:
            self._own.connection = None
            reader.close()
            unlock(lock)
            if reader.has_met_damage:
                with suppress(StoreError):  # it has answered; the next one mends what this one cannot
                    self._mend(seen, min(self.wait_seconds, _MENDING_SECONDS))

    def _reader(self) -> tuple[SteadyReader, int, int]:
        """What a block reads from, the shared lock, and which file it is."""
        try:
            connection, lock, seen = self._open_caught_up()
        except UnwritableError:
            lock, seen = take_lock(self.lock, exclusive=False, wait_seconds=self.wait_seconds), 0
            try:
                connection = self._read_journal()
            except BaseException:
                unlock(lock)
                raise
        return SteadyReader(connection, self._read_journal), lock, seen

    def _open_caught_up(self) -> tuple[duckdb.DuckDBPyConnection, int, int]:
        if self.read_only:
            return self._open_read_only()
        damage: DamagedError | None = None
        reach = self.journal.reach()  # others may append for ever: what is there now must be read, no more
        for _ in range(_CATCH_UPS):
            seen = self._of.number()
            try:
                return *self._open_for_reading(reach), seen
            except _BehindError:
                self.settle()
            except DamagedError as error:
                if damage:
                    raise StoreError(f"{error}, though it was just made anew: look for a fault of the disk") from error
                damage = error
                self._mend(seen, self.wait_seconds)
        raise StoreError(f"{self.file} does not catch up with the journal: writers are killed again and again")

    def _open_read_only(self) -> tuple[duckdb.DuckDBPyConnection, int, int]:
        """The file where it is sound, holds the whole journal and is of today's schema; else a catalog in memory."""
        seen = self._of.number()
        if self._in_memory is None or self.journal.goes_on_after(last_seq(self._in_memory)):
            with suppress(_BehindError, DamagedError):
                connection, lock = self._open_for_reading()
                try:
                    if migrations_in(connection) == migrations_wanted():
                        return connection, lock, seen
                except duckdb.Error as error:
                    if not means_damage(error):
                        raise
                connection.close()
                unlock(lock)
        lock = take_lock(self.lock, exclusive=False, wait_seconds=self.wait_seconds)
        try:
            if self._in_memory is None or self.journal.goes_on_after(last_seq(self._in_memory)):
                self._in_memory = self._read_journal()
            return self._in_memory.cursor(), lock, seen
        except BaseException:
            unlock(lock)
            raise

    def _read_journal(self) -> duckdb.DuckDBPyConnection:
        """A catalog in memory, of all that the journal holds."""
        return build_in_memory(self.journal.whole())

    def _mend(self, seen: int, wait_seconds: float) -> None:
        """Make the catalog anew, unless somebody has replaced the damaged file `seen` meanwhile."""
        if self.read_only:
            self._in_memory = self._read_journal()
            return
        with locked(self.lock, exclusive=True, wait_seconds=wait_seconds):
            if self._of.number() == seen:
                self._of.replace()
            self._of.drain()

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
        check_writable(self.root)
        with locked(self.lock, exclusive=True, wait_seconds=self.wait_seconds):
            self._of.replace()
            self._of.drain()

    def _open_for_reading(self, reach: int | None = None) -> tuple[duckdb.DuckDBPyConnection, int]:
        """A connection to a catalog that holds the whole journal (as far as `reach`), and the lock; raises _BehindError
        for any other, and DamagedError.
        """
        lock = take_lock(self.lock, exclusive=False, wait_seconds=self.wait_seconds)
        try:
            if not self.file.exists():
                raise _BehindError(f"{self.file} is missing")
            connection = self._of.connect(read_only=True)
            try:
                if self.journal.goes_on_after(last_seq(connection), reach):
                    raise _BehindError("a leader was killed before its commit, or another machine has appended")
            except BaseException as error:
                connection.close()
                if isinstance(error, duckdb.CatalogException):
                    raise _BehindError(f"{self.file} has no tables") from error
                if means_damage(error):
                    raise DamagedError(f"{self.file} is damaged: {error}") from error
                raise
            return connection, lock
        except BaseException:
            unlock(lock)
            raise


class _BehindError(Exception):
    """The catalog does not hold all that the journal holds."""
