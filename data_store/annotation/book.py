"""The book of human judgements: a SQLite file beside the catalog, written by many people at once.

DuckDB lets one process write, and every judgement is a small transaction of its own, so what is being collected lies
here; a finished batch becomes an immutable version in the catalog, as every other data set. A judgement that was
acknowledged is on the disk (WAL with synchronous=FULL).
"""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from tempfile import TemporaryDirectory

from data_store.annotation.schema import check_schema, migrate
from data_store.commands import halter
from data_store.errors import InputError, StoreError
from data_store.files import sync_folder
from data_store.read_only import Scratch, check_writable, is_read_only

BOOK_FILE = "annotation.sqlite"
BOOK_FILES = (BOOK_FILE, f"{BOOK_FILE}-wal", f"{BOOK_FILE}-shm")
WAIT_SECONDS = 30.0  # for another process that writes


class Book:
    """An open book; threads may share it. Other processes open their own. Do not fork with one open."""

    def __init__(self, root: Path, file: Path, clock: Callable[[], float], scratch: Scratch | None = None) -> None:
        self.root = root
        self.file = file
        self.clock = clock
        self._scratch = scratch  # what it lies in goes with it
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        # Threads of this process wait in line here: SQLite's own wait is a poll, and slow under fifty writers.
        self._writer = threading.Lock()

    @classmethod
    def open(cls, root: Path, clock: Callable[[], float] = time.time) -> "Book":
        """The book of the store at `root`, made when it is not there; `clock` gives seconds since 1970. Of a store that
        cannot be written to it is a copy, as the book is now.

        Raises InputError when there is no such folder, StoreError for a book of a newer halter.
        """
        if not root.is_dir():
            raise InputError(
                f"there is no store {root}: start the run first, for example `{halter('run', 'configs/smoke.yaml')}`"
            )
        scratch = Scratch() if is_read_only(root) else None
        place = root if scratch is None else scratch.folder("book")
        book = cls(root, place / BOOK_FILE, clock, scratch)
        if scratch is not None:
            copy_book(root, place)
        with book._writing("FULL") as connection:
            migrate(connection)
        return book

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction that writes: all of the block or nothing, on the disk when the block has ended.

        Not durable is for what may be forgotten when the power fails, never when a process is killed; the next durable
        one takes it along. It saves the wait for the disk.
        """
        check_writable(self.root)
        with self._writing("FULL" if durable else "NORMAL") as connection:
            yield connection

    @contextmanager
    def _writing(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        with self._writer, self._transaction("BEGIN IMMEDIATE", synchronous) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the book for the length of the block; nobody waits for it."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.file}: {error}; look for a full disk or a process that hangs") from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a rule of the book that does not hold: its asker knows
                raise
            raise self._damaged(error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.put(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            for setting in ("journal_mode = WAL", "foreign_keys = ON", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._damaged(error) from error
        return connection

    def _damaged(self, error: sqlite3.DatabaseError) -> StoreError:
        return StoreError(
            f"{self.file} is cut short or damaged ({error}): take it from a backup of the store; judgements that were "
            "handed over are in the store and not lost"
        )

    def close(self) -> None:
        """Close the connections that nobody uses; the book can be used again."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return


def take_book(root: Path, target: Path) -> bool:
    """Copy the book of one store in the place of another's, which stays as it is where the copy is not sound; False
    where there is none. Raises StoreError for a book that is damaged, or has tables, triggers or views that halter
    never made: a trigger would act whenever a judgement is written."""
    if not (root / BOOK_FILE).exists():
        return False
    drafts = target / "tmp"  # what a killed process leaves there is cleared away
    drafts.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=drafts) as folder:
        _copy_sound(root, Path(folder))
        for name in BOOK_FILES[1:]:  # they speak of the book that was there
            (target / name).unlink(missing_ok=True)
        (Path(folder) / BOOK_FILE).replace(target / BOOK_FILE)
        sync_folder(target)
    return True


def book_trouble(root: Path) -> str | None:
    """What is wrong with the book of a store, every page of it read; None where it is sound or not there."""
    if not (root / BOOK_FILE).exists():
        return None
    try:
        with TemporaryDirectory() as folder:
            _copy_sound(root, Path(folder))
    except StoreError as error:
        return str(error)
    return None


def _copy_sound(root: Path, target: Path) -> None:
    copy_book(root, target)
    connection = sqlite3.connect(target / BOOK_FILE)
    try:
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {setting}")
        check_schema(connection)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreError(f"{root / BOOK_FILE}: the book of judgements is damaged: {found}")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{root / BOOK_FILE}: the book of judgements is damaged: {error}") from None
    finally:
        connection.close()


def copy_book(root: Path, target: Path) -> bool:
    """Copy the book of one store into another, whole, also while people judge; False where there is none."""
    if not (root / BOOK_FILE).exists():
        return False
    try:
        _copy(root / BOOK_FILE, target / BOOK_FILE)
    except sqlite3.OperationalError as error:
        if not is_read_only(root):
            raise StoreError(f"{root / BOOK_FILE}: the book of judgements cannot be copied: {error}") from None
        # SQLite wants to lay files of its own beside the book, and cannot. What nobody can write to can be copied as
        # files, with the newest judgements, which a killed process may have left in the second one.
        with TemporaryDirectory() as folder:
            for name in (BOOK_FILE, f"{BOOK_FILE}-wal"):
                if (root / name).exists():
                    shutil.copyfile(root / name, Path(folder) / name)
            _copy(Path(folder) / BOOK_FILE, target / BOOK_FILE)
    return True


def _copy(source: Path, target: Path) -> None:
    opened, copy = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        opened.backup(copy)
    except sqlite3.OperationalError:  # the caller knows what to do where nobody can write
        raise
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{source}: the book of judgements cannot be copied: {error}") from None
    finally:
        opened.close()
        copy.close()
