"""The journal as a table of PostgreSQL, which the stores of several machines share.

The table is the truth, and there is no other copy of it but backups. Each machine has its own catalog and its own
spool. Its leader takes a lock on the server for each batch, applies what others have appended, judges its own events by
that, inserts them, commits; only then are they acknowledged. Where the connection is lost in between, nobody knows
whether the batch got in, so the leader's transaction in DuckDB is given up: the events wait in the spool, and the next
leader, with the lock, finds them in the table by their ids or not at all.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_store.catalog.entry_table import ROWS, EntryTable
from data_store.catalog.events import Event
from data_store.catalog.journal import START, Entry, Journal, check_format, repair
from data_store.catalog.others import OtherMachines
from data_store.catalog.postgres import Address
from data_store.errors import BrokenJournalError, InputError, StoreError

SEGMENT_ENTRIES = 5000  # of one segment that is written of the table


class TableJournal(Journal):
    """The journal of the store `store_id` at `url`; its folder `root` has the spool. Raises InputError for a URL that
    is none."""

    def __init__(self, root: Path, url: str, store_id: str, wait_seconds: float) -> None:
        super().__init__(root)
        self.table = EntryTable(Address.parse(url), store_id, wait_seconds)
        self.others = OtherMachines(self.table.address, store_id, self.table.check)
        self._batch: list[Entry] = []  # what the present turn has appended

    @property
    def place(self) -> str:
        """Server, database and schema."""
        return str(self.table.address)

    @contextmanager
    def turn(self, seq: int, prev: str) -> Iterator[Iterable[Entry]]:
        """As `Journal.turn`; raises UnreachableError where the server does not answer, and then nobody knows whether
        what was appended is in."""
        with self.table.server.session() as connection:
            rows = self.table.begin(connection, seq)
            self._batch = []
            yield self._checked(rows, seq, prev)
            self.table.commit(connection, self._batch)

    def grown(self, batch: list[tuple[Path, Event]], limit: int) -> list[tuple[Path, Event]]:
        """As `Journal.grown`: fewer turns, where two machines take them one after the other."""
        return self.pending(limit)

    def append(self, entries: list[Entry], segment: Path | None = None) -> Path | None:
        """Add to what is inserted at the end of the `turn`."""
        self._batch += entries
        return None

    def secure(self, seq: int) -> None:
        """What is committed is durable."""

    def after(self, seq: int, prev: str) -> Iterator[Entry]:
        """As `Journal.after`, read some at a time."""
        more = True
        while more:
            rows = self.table.server.ask(
                lambda connection, seq=seq: self.table.rows(connection, seq),  # type: ignore[misc]
                self.table.wait_seconds,
            )
            for entry in self._checked(rows, seq, prev):
                yield entry
                seq, prev = entry.seq, entry.sha256
            more = len(rows) == ROWS

    def _checked(self, rows: list[tuple[int, str]], seq: int, prev: str) -> list[Entry]:
        found = list(self.table.sound(rows, seq, prev))
        for entry in found:
            check_format(entry.event, self.place)
        return found

    def reach(self) -> int:
        """The number of the newest entry."""
        return self.table.reach()

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
        """As `Journal.goes_on_from`, by the chain."""
        try:
            return self.table.holds(*_end_of(copy))
        except StoreError:
            return False

    def extent(self) -> int:
        """How far it goes now, for `copy_to`."""
        return self.reach()

    def copy_to(self, copy: Journal, extent: Any) -> int:
        """As `Journal.copy_to`."""
        some: list[Entry] = []
        files = 0
        for entry in self.after(*_end_of(copy)):
            if entry.seq <= extent:
                some.append(entry)
            if some and (len(some) == SEGMENT_ENTRIES or entry.seq == extent):
                copy.append(some)
                some, files = [], files + 1
            if entry.seq >= extent:
                break
        return files

    def take_lost(self, theirs: Journal) -> list[str]:
        """Put in what a backup's journal has and the table has lost or has broken; gives what, in words. Raises
        InputError where it is of another history."""
        here = dict(self.table.all_rows())
        there = list(theirs.whole())
        apart = [e.seq for e in there if (mine := here.get(e.seq)) is not None and mine.sha256 != e.sha256]
        if apart or (here and not any(here.get(entry.seq) for entry in there)):
            where = f"event {apart[0]} there is another than here" if apart else "they have no event in common"
            raise InputError(f"the backup is of another store, or they have gone apart since: {where}")
        taken = [entry for entry in there if here.get(entry.seq) is None]
        for start in range(0, len(taken), SEGMENT_ENTRIES):
            self.table.put_in(taken[start : start + SEGMENT_ENTRIES], in_place=True)
        return [f"event {entry.seq}" for entry in taken[:10]] + ["…"] * (len(taken) > 10)


def _end_of(copy: Journal) -> tuple[int, str]:
    end = (0, START)
    for entry in copy.whole():
        end = (entry.seq, entry.sha256)
    return end
