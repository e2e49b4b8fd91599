"""The journal as a table of PostgreSQL, which the stores of several machines share.

    store    one row: which store it is, whether it may be written to, how often a collector was at work
    entry    seq, prev, event_id, line: the same lines, chained by the same hashes, that segments hold

The table is the truth, and there is no other copy of it but backups. Each machine has its own catalog and its own
spool. Its leader takes a lock on the server for each batch, applies what others have appended, judges its own events by
that, inserts them, commits; only then are they acknowledged. Where the connection is lost in between, nobody knows
whether the batch got in, so the leader's transaction in DuckDB is given up: the events wait in the spool, and the next
leader, with the lock, finds them in the table by their ids or not at all.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.catalog.events import Event
from data_store.catalog.journal import START, Entry, Journal, broken, check_format, repair
from data_store.catalog.others import OtherMachines, lock_key
from data_store.catalog.postgres import Address, Server
from data_store.commands import halter
from data_store.errors import BrokenJournalError, InputError, StoreError

if TYPE_CHECKING:
    import psycopg

TABLE_FORMAT = 1
FILLING, OPEN, LEFT = "filling", "open", "left"  # a table is written to while it is open
_ROWS = 2000
SEGMENT_ENTRIES = 5000  # of one segment that is written of the table
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


class TableJournal(Journal):
    """The journal of the store `store_id` at `url`; its folder `root` has the spool. Raises InputError for a URL that
    is none."""

    def __init__(self, root: Path, url: str, store_id: str, wait_seconds: float) -> None:
        super().__init__(root)
        self.address = Address.parse(url)
        self.store_id, self.wait_seconds = store_id, wait_seconds
        self.server = Server(self.address, self._check)
        self.others = OtherMachines(self.address, store_id, self._check)
        self._batch: list[Entry] = []  # what the present turn has appended

    @property
    def place(self) -> str:
        """Server, database and schema."""
        return str(self.address)

    def _check(self, connection: "psycopg.Connection[Any]") -> None:
        """Raises StoreError where the schema holds another store's journal, none, or one of a newer halter."""
        found = _identity(connection)
        if found is None:
            raise StoreError(f"{self.place} holds no journal: look whether places.json names the right database")
        if found[0] != self.store_id:
            raise StoreError(
                f"{self.place} holds the journal of another store ({found[0][:8]} and not {self.store_id[:8]}): name "
                "the right database or schema in places.json"
            )
        if found[1] > TABLE_FORMAT:
            raise StoreError(f"{self.place}: format {found[1]}, this halter knows {TABLE_FORMAT}; upgrade halter")

    @contextmanager
    def turn(self, seq: int, prev: str) -> Iterator[Iterable[Entry]]:
        """As `Journal.turn`; raises UnreachableError where the server does not answer, and then nobody knows whether
        what was appended is in. Two round trips: a busy machine takes its time over each."""
        with self.server.session() as connection:
            # Each statement has a snapshot of its own: the last one sees all that was committed before the lock.
            begun = connection.execute(f"{self._begin}; {_STATE}; {_BEHIND} {int(seq)} ORDER BY seq".encode())
            begun.nextset()
            begun.nextset()
            if begun.fetchall()[0][0] != OPEN:
                raise StoreError(
                    f"{self.place} is closed: the journal has been moved elsewhere, or is being moved; where that was "
                    "cut off, the same `halter move-store` goes on"
                )
            begun.nextset()
            self._batch = []
            yield list(self._sound(begun.fetchall(), seq, prev))
            with connection.pipeline():
                if self._batch:
                    _insert(connection, _INSERT, self._batch)
                connection.execute("COMMIT")

    def grown(self, batch: list[tuple[Path, Event]], limit: int) -> list[tuple[Path, Event]]:
        """As `Journal.grown`: fewer turns, where two machines take them one after the other."""
        return self.pending(limit)

    def append(self, entries: list[Entry], segment: Path | None = None) -> Path | None:
        """Add to what is inserted at the end of the `turn`."""
        self._batch += entries
        return None

    @contextmanager
    def _appending(self, connection: "psycopg.Connection[Any]") -> Iterator[None]:
        """A transaction that nobody else who appends is in."""
        connection.execute(self._begin.encode())
        yield
        connection.execute("COMMIT")

    @property
    def _begin(self) -> str:
        wait, lock = int(self.wait_seconds * 1000), lock_key(self.store_id, "append")
        return f"BEGIN; SELECT set_config('lock_timeout', '{wait}ms', true), pg_advisory_xact_lock({lock})"

    def secure(self, seq: int) -> None:
        """What is committed is durable."""

    def after(self, seq: int, prev: str) -> Iterator[Entry]:
        """As `Journal.after`, read some at a time."""
        more = True
        while more:
            start, found = seq, (seq, prev)

            def some(connection: "psycopg.Connection[Any]", found: tuple[int, str] = found) -> list[Entry]:
                return list(self._after(connection, *found, most=_ROWS))

            for entry in self.server.ask(some, self.wait_seconds):
                yield entry
                seq, prev = entry.seq, entry.sha256
            more = seq - start == _ROWS

    def _after(self, connection: "psycopg.Connection[Any]", seq: int, prev: str, most: int) -> Iterator[Entry]:
        rows = connection.execute(f"{_BEHIND} {int(seq)} ORDER BY seq LIMIT {int(most)}".encode()).fetchall()
        return self._sound(rows, seq, prev)

    def _sound(self, rows: Iterable[tuple[int, str]], seq: int, prev: str) -> Iterator[Entry]:
        """The entries of rows that go on after the one with number `seq`. Raises BrokenJournalError."""
        for number, line in rows:
            entry = Entry.parse(line)
            if entry is None or (entry.seq, entry.prev) != (seq + 1, prev):
                raise BrokenJournalError(f"{self.place}: row {number} of entry: {broken()}")
            check_format(entry.event, self.place)
            yield entry
            seq, prev = entry.seq, entry.sha256

    def reach(self) -> int:
        """The number of the newest entry."""
        sql = "SELECT coalesce(max(seq), 0) FROM entry"
        return int(self.server.ask(lambda connection: connection.execute(sql).fetchall(), self.wait_seconds)[0][0])

    def goes_on_after(self, seq: int, reach: int | None = None) -> bool:
        """As `Journal.goes_on_after`; raises BrokenJournalError where the table ends before `seq`."""
        if reach is None:
            reach = self.reach()
            self._check_end(reach, seq)
        return reach > seq

    def _check_end(self, seq: int, known: int) -> None:
        if seq < known:
            raise BrokenJournalError(
                f"{self.place} ends with event {seq}, and this machine has read {known}: the table has lost its end, "
                f"as a database does that was put back to an earlier day; {repair()}"
            )

    def segments_there(self) -> list[Path]:
        """None; what may lie in the folder is of before the journal was moved."""
        return []

    def goes_on_from(self, copy: Journal) -> bool:
        """As `Journal.goes_on_from`."""
        last = (0, START)
        try:
            for entry in copy.whole():
                last = (entry.seq, entry.sha256)
        except StoreError:
            return False
        return self.holds(*last)

    def extent(self) -> int:
        """How far it goes now, for `copy_to`."""
        return self.reach()

    def copy_to(self, copy: Journal, extent: Any) -> int:
        """As `Journal.copy_to`."""
        last = (0, START)
        for entry in copy.whole():
            last = (entry.seq, entry.sha256)
        some: list[Entry] = []
        files = 0
        for entry in self.after(*last):
            if entry.seq <= extent:
                some.append(entry)
            if len(some) == SEGMENT_ENTRIES or (entry.seq == extent and some):
                copy.append(some)
                some, files = [], files + 1
            if entry.seq >= extent:
                break
        return files

    def take_lost(self, theirs: Journal) -> list[str]:
        """Put in what a backup's journal has and the table has lost or has broken; gives what, in words. Raises
        InputError where it is of another history."""
        here = dict(self._rows())
        apart, taken = [], []
        for entry in theirs.whole():
            mine = here.get(entry.seq)
            if mine is None:
                taken.append(entry)
            elif mine.sha256 != entry.sha256:
                apart.append(entry.seq)
        if apart or (here and not any(entry.seq in here for entry in theirs.whole())):
            where = f"event {apart[0]} there is another than here" if apart else "they have no event in common"
            raise InputError(f"the backup is of another store, or they have gone apart since: {where}")
        for start in range(0, len(taken), SEGMENT_ENTRIES):
            self.put_in(taken[start : start + SEGMENT_ENTRIES], in_place=True)
        return [f"event {entry.seq}" for entry in taken[:10]] + ["…"] * (len(taken) > 10)

    # --- for those who move it, join it or put it right ---------------------------------------------------------------

    def lay_out(self) -> None:
        """Make the tables where there are none. Raises InputError where they are of another store."""

        def make(connection: "psycopg.Connection[Any]") -> str:
            from psycopg import sql

            with connection.transaction():
                encoding = connection.execute("SELECT current_setting('server_encoding')").fetchall()[0][0]
                if encoding != "UTF8":
                    raise InputError(f"{self.place}: the database is in {encoding}: give one that is in UTF8")
                schema = sql.Identifier(self.address.schema)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
                for statement in _TABLES.split(";"):
                    connection.execute(statement.encode())
                connection.execute(
                    "INSERT INTO store (store_id, format, state) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    [self.store_id, TABLE_FORMAT, FILLING],
                )
            found = _identity(connection)
            return "" if found is None else found[0]

        with closing(Server(self.address, lambda _connection: None)) as server:
            there = server.ask(make, self.wait_seconds)
        if there != self.store_id:
            raise InputError(
                f"{self.place} holds the journal of another store ({there[:8]}): give another database, or another "
                "schema of it by ?schema=NAME"
            )

    def check_reachable(self) -> None:
        """Raises StoreError where the server does not answer, or lets nobody in."""
        with closing(Server(self.address, lambda _connection: None)) as server:
            server.ask(lambda connection: connection.execute("SELECT 1"), 0.0)

    def state(self) -> str:
        """FILLING, OPEN or LEFT."""
        return str(self.server.ask(lambda connection: connection.execute(_STATE).fetchall(), self.wait_seconds)[0][0])

    def set_state(self, state: str) -> None:
        """Behind whoever appends now."""

        def change(connection: "psycopg.Connection[Any]") -> None:
            with self._appending(connection):
                connection.execute("UPDATE store SET state = %s", [state])

        self.server.ask(change, self.wait_seconds)

    def end(self) -> tuple[int, str]:
        """The number and the hash of the last entry; (0, START) where there is none. Raises BrokenJournalError."""
        seq = self.reach()
        if not seq:
            return 0, START
        entry = self._row(seq)
        if entry is None:
            raise BrokenJournalError(f"{self.place}: row {seq} of entry: {broken()}")
        return entry.seq, entry.sha256

    def holds(self, seq: int, sha256: str) -> bool:
        """Whether it has had this entry; all have had (0, START)."""
        entry = self._row(seq)
        return seq == 0 or (entry is not None and entry.sha256 == sha256)

    def _row(self, seq: int) -> Entry | None:
        sql = "SELECT line FROM entry WHERE seq = %s"
        found = self.server.ask(lambda connection: connection.execute(sql, [seq]).fetchall(), self.wait_seconds)
        return Entry.parse(found[0][0]) if found else None

    def put_in(self, entries: list[Entry], *, in_place: bool = False) -> None:
        """Insert entries that come from elsewhere, where there are none; `in_place`: instead of what there is."""

        def insert(connection: "psycopg.Connection[Any]") -> None:
            with self._appending(connection):
                _insert(connection, _MEND if in_place else _PUT_IN, entries)

        self.server.ask(insert, self.wait_seconds)

    def _rows(self) -> Iterator[tuple[int, Entry | None]]:
        """Each row's number and entry, None for one that is not sound."""
        seq, more = 0, True
        while more:
            found = self.server.ask(
                lambda connection, seq=seq: connection.execute(  # type: ignore[misc]
                    f"{_BEHIND} {int(seq)} ORDER BY seq LIMIT {_ROWS}".encode()
                ).fetchall(),
                self.wait_seconds,
            )
            for number, line in found:
                yield number, Entry.parse(line)
                seq = number
            more = len(found) == _ROWS

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
    with closing(Server(address, lambda _connection: None)) as server:
        found = server.ask(_identity, 0.0)
    if found is None:
        raise InputError(
            f"{address} holds no journal: give the address that `{halter('move-store')}` printed, schema and all"
        )
    return found[0]


def _identity(connection: "psycopg.Connection[Any]") -> tuple[str, int] | None:
    if connection.execute("SELECT to_regclass('store')").fetchall()[0][0] is None:
        return None
    found = connection.execute("SELECT store_id, format FROM store").fetchall()
    return (str(found[0][0]), int(found[0][1])) if found else None


def _insert(connection: "psycopg.Connection[Any]", sql: str, entries: list[Entry]) -> None:
    columns = zip(*((entry.seq, entry.prev, entry.event["event_id"], entry.line()) for entry in entries), strict=True)
    connection.execute(sql.encode(), [list(column) for column in columns])
