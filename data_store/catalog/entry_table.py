"""The tables of a journal on PostgreSQL: laid out, filled, read as they are, closed and removed.

store    one row: which store it is, whether it may be written to, how often a collector was at work
entry    seq, prev, event_id, line: the same lines, chained by the same hashes, that segments hold
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from data_store.catalog.journal import START, Entry, broken
from data_store.catalog.others import lock_key
from data_store.catalog.postgres import Address, Server, driver
from data_store.commands import halter
from data_store.errors import BrokenJournalError, InputError, StoreError

if TYPE_CHECKING:
    import psycopg

TABLE_FORMAT = 1
FILLING, OPEN, LEFT = "filling", "open", "left"  # a table is written to while it is open
ROWS = 2000  # that are read at once
_TABLES = """
CREATE TABLE IF NOT EXISTS store (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    store_id TEXT NOT NULL,
    format INTEGER NOT NULL,
    state TEXT NOT NULL,
    collections BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entry (
    seq BIGINT PRIMARY KEY,
    prev TEXT NOT NULL UNIQUE,
    event_id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL
)
"""
_BEHIND = "SELECT seq, line FROM entry WHERE seq >"
_STATE = "SELECT state FROM store"
_INSERT = """
INSERT INTO entry (seq, prev, event_id, line) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
"""
_PUT_IN = f"{_INSERT} ON CONFLICT DO NOTHING"
_MEND = f"""{_INSERT}
ON CONFLICT (seq) DO UPDATE SET prev = EXCLUDED.prev, event_id = EXCLUDED.event_id, line = EXCLUDED.line
"""


class EntryTable:
    """The tables of the store `store_id` at an address."""

    def __init__(self, address: Address, store_id: str, wait_seconds: float) -> None:
        self.address, self.store_id, self.wait_seconds = address, store_id, wait_seconds
        self.check = partial(_check, address, store_id)  # no method: what refers to itself keeps its connection open
        self.server = Server(address, self.check)

    def check_reachable(self) -> None:
        """Raises StoreError where the server does not answer, or lets nobody in."""
        with closing(Server(self.address, _unchecked)) as server:
            server.ask(lambda connection: connection.execute("SELECT 1"), 0.0)

    def lay_out(self) -> None:
        """Make the tables where there are none. Raises InputError where they are of another store."""
        with closing(Server(self.address, _unchecked)) as server:
            there = server.ask(self._make, self.wait_seconds)
        if there != self.store_id:
            raise InputError(
                f"{self.address} holds the journal of another store ({there[:8]}): give another database, or another "
                "schema of it by ?schema=NAME"
            )

    def _make(self, connection: "psycopg.Connection[Any]") -> str:
        """Which store they are of."""
        from psycopg import sql

        with connection.transaction():
            encoding = connection.execute("SELECT current_setting('server_encoding')").fetchall()[0][0]
            if encoding != "UTF8":
                raise InputError(f"{self.address}: the database is in {encoding}: give one that is in UTF8")
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.address.schema)))
            connection.execute(_TABLES.encode())
            connection.execute(
                "INSERT INTO store (store_id, format, state) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [self.store_id, TABLE_FORMAT, FILLING],
            )
        found = _identity(connection)
        return "" if found is None else found[0]

    # --- one turn of who appends: two round trips, for a busy machine takes its time over each ------------------------

    def begin(self, connection: "psycopg.Connection[Any]", seq: int) -> list[tuple[int, str]]:
        """Begin a transaction that nobody else who appends is in; gives the rows behind number `seq`. Raises StoreError
        for tables that are closed."""
        # Each statement has a snapshot of its own: the last one sees all that was committed before the lock.
        begun = connection.execute(f"{self._begin}; {_STATE}; {_BEHIND} {int(seq)} ORDER BY seq".encode())
        begun.nextset()
        begun.nextset()
        if begun.fetchall()[0][0] != OPEN:
            raise StoreError(
                f"{self.address} is closed: the journal has been moved elsewhere, or is being moved; where that was "
                "cut off, the same command goes on"
            )
        begun.nextset()
        return begun.fetchall()

    def commit(self, connection: "psycopg.Connection[Any]", entries: list[Entry]) -> None:
        """Insert them and end the transaction."""
        if entries:
            driver().ClientCursor(connection).execute(f"{_INSERT}; COMMIT".encode(), _columns(entries))
        else:
            connection.execute("COMMIT")

    @property
    def _begin(self) -> str:
        wait, lock = int(self.wait_seconds * 1000), lock_key(self.store_id, "append")
        return f"BEGIN; SELECT set_config('lock_timeout', '{wait}ms', true), pg_advisory_xact_lock({lock})"

    @contextmanager
    def _appending(self, connection: "psycopg.Connection[Any]") -> Iterator[None]:
        connection.execute(self._begin.encode())
        yield
        connection.execute("COMMIT")

    # --- reading ------------------------------------------------------------------------------------------------------

    def rows(self, connection: "psycopg.Connection[Any]", seq: int) -> list[tuple[int, str]]:
        """The next rows behind number `seq`, at most ROWS: number and line."""
        return connection.execute(f"{_BEHIND} {int(seq)} ORDER BY seq LIMIT {ROWS}".encode()).fetchall()

    def all_rows(self) -> Iterator[tuple[int, Entry | None]]:
        """Each row's number and entry, None for one that is not sound."""
        seq, more = 0, True
        while more:
            found = self.server.ask(lambda connection, seq=seq: self.rows(connection, seq), self.wait_seconds)  # type: ignore[misc]
            for number, line in found:
                yield number, Entry.parse(line)
                seq = number
            more = len(found) == ROWS

    def sound(self, rows: Iterable[tuple[int, str]], seq: int, prev: str) -> Iterator[Entry]:
        """The entries of rows that go on after the one with number `seq` and hash `prev`. Raises BrokenJournalError."""
        for number, line in rows:
            entry = Entry.parse(line)
            if entry is None or (entry.seq, entry.prev) != (seq + 1, prev):
                raise self._broken(number)
            yield entry
            seq, prev = entry.seq, entry.sha256

    def reach(self) -> int:
        """The number of the newest entry, 0 for none."""
        sql = "SELECT coalesce(max(seq), 0) FROM entry"
        return int(self.server.ask(lambda connection: connection.execute(sql).fetchall(), self.wait_seconds)[0][0])

    def end(self) -> tuple[int, str]:
        """The number and the hash of the last entry; (0, START) where there is none. Raises BrokenJournalError."""
        seq = self.reach()
        if not seq:
            return 0, START
        entry = self._row(seq)
        if entry is None:
            raise self._broken(seq)
        return entry.seq, entry.sha256

    def holds(self, seq: int, sha256: str) -> bool:
        """Whether it has this entry; all have had (0, START)."""
        entry = self._row(seq)
        return seq == 0 or (entry is not None and entry.sha256 == sha256)

    def _row(self, seq: int) -> Entry | None:
        sql = "SELECT line FROM entry WHERE seq = %s"
        found = self.server.ask(lambda connection: connection.execute(sql, [seq]).fetchall(), self.wait_seconds)
        return Entry.parse(found[0][0]) if found else None

    def _broken(self, number: int) -> BrokenJournalError:
        return BrokenJournalError(f"{self.address}: row {number} of entry: {broken()}")

    # --- for those who move it or put it right ------------------------------------------------------------------------

    def state(self) -> str:
        """FILLING, OPEN or LEFT."""
        return str(self.server.ask(lambda connection: connection.execute(_STATE).fetchall(), self.wait_seconds)[0][0])

    def set_state(self, state: str) -> None:
        """Behind whoever appends now."""

        def change(connection: "psycopg.Connection[Any]") -> None:
            with self._appending(connection):
                connection.execute("UPDATE store SET state = %s", [state])

        self.server.ask(change, self.wait_seconds)

    def put_in(self, entries: list[Entry], *, in_place: bool = False) -> None:
        """Insert entries that come from elsewhere, where there are none; `in_place`: instead of what there is."""

        def insert(connection: "psycopg.Connection[Any]") -> None:
            with self._appending(connection):
                connection.execute((_MEND if in_place else _PUT_IN).encode(), _columns(entries))

        self.server.ask(insert, self.wait_seconds)

    def remove(self) -> None:
        """Remove the tables, and the schema where nothing else is in it."""

        def drop(connection: "psycopg.Connection[Any]") -> None:
            from psycopg import sql

            with connection.transaction():
                connection.execute("DROP TABLE entry, store")
                left = connection.execute(
                    "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%s)", [self.address.schema]
                ).fetchall()[0][0]
                if not left:
                    connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(self.address.schema)))

        self.server.ask(drop, self.wait_seconds)


def store_at(address: Address) -> str:
    """Which store the journal at the address is of. Raises InputError where there is none."""
    with closing(Server(address, _unchecked)) as server:
        found = server.ask(_identity, 0.0)
    if found is None:
        raise InputError(
            f"{address} holds no journal: give the address that `{halter('move-store')}` printed, schema and all"
        )
    return found[0]


def _check(address: Address, store_id: str, connection: "psycopg.Connection[Any]") -> None:
    """Raises StoreError where the schema holds another store's journal, none, or one of a newer halter."""
    found = _identity(connection)
    if found is None:
        raise StoreError(f"{address} holds no journal: look whether places.json names the right database")
    if found[0] != store_id:
        raise StoreError(
            f"{address} holds the journal of another store ({found[0][:8]} and not {store_id[:8]}): name the right "
            "database or schema in places.json"
        )
    if found[1] > TABLE_FORMAT:
        raise StoreError(f"{address}: format {found[1]}, this halter knows {TABLE_FORMAT}; upgrade halter")


def _unchecked(_connection: "psycopg.Connection[Any]") -> None:
    """For who asks before there is a store to be of."""


def _identity(connection: "psycopg.Connection[Any]") -> tuple[str, int] | None:
    if connection.execute("SELECT to_regclass('store')").fetchall()[0][0] is None:
        return None
    found = connection.execute("SELECT store_id, format FROM store").fetchall()
    return (str(found[0][0]), int(found[0][1])) if found else None


def _columns(entries: list[Entry]) -> list[list[Any]]:
    """seq, prev, event_id and line of all entries."""
    rows = ((entry.seq, entry.prev, entry.event["event_id"], entry.line()) for entry in entries)
    return [list(column) for column in zip(*rows, strict=True)]
