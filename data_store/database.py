"""The catalog's file as DuckDB opens it: whether somebody else holds it, and whether an error means that it is damaged.

DuckDB says much with one class. A block whose checksum is wrong and a file that is too short are an IOException (2.0
raises its base class for the first), and so are a lock of another program, a missing permission and a full disk. What
else it can be is therefore looked up, not read out of the text. A file that is wrongly taken for damaged costs one
rebuild and loses nothing: the journal holds everything.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from data_store.commands import halter
from data_store.errors import StoreError
from data_store.projection import CONFIG

_DAMAGE = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
_OTHER_PROGRAM_SECONDS = 10.0
_HELD = 3
# In a process of its own: closing any descriptor of the file would drop the lock that DuckDB holds for this process.
_PROBE = f"""
import fcntl, sys
with open(sys.argv[1], sys.argv[2]) as file:
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if sys.argv[2] == "rb" else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        sys.exit({_HELD})
"""


class DamagedError(Exception):
    """The catalog's file is not sound; the journal can make it anew."""


def means_damage(error: BaseException) -> bool:
    """Whether DuckDB may have met damage in the file. After some of these its instance in this process is of no use
    any more, for all who have the file open; it goes with the last of their connections."""
    return type(error) is duckdb.Error or isinstance(error, _DAMAGE)


def connect(file: Path, *, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
    """Open the file; waits for another program that holds it, for a while.

    Raises DamagedError where it is damaged as far as opening tells, StoreError where it cannot be opened otherwise.
    """
    deadline = time.monotonic() + min(_OTHER_PROGRAM_SECONDS, wait_seconds)
    while True:
        try:
            return duckdb.connect(str(file), read_only=read_only, config=CONFIG)
        except duckdb.Error as error:
            if not means_damage(error) or not os.access(file, os.R_OK if read_only else os.R_OK | os.W_OK):
                raise StoreError(f"{file} cannot be opened: {error}") from error
            if not _is_held(file, read_only=read_only):
                raise DamagedError(f"{file} is damaged: {error}") from error
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{file} is open in another program; close it and use `{halter('query')}` ({error})"
                ) from None
        time.sleep(0.05)


def _is_held(file: Path, *, read_only: bool) -> bool:
    """Whether another process holds a lock on the file that keeps DuckDB from opening it."""
    words = [sys.executable, "-I", "-S", "-c", _PROBE, str(file), "rb" if read_only else "r+b"]
    return subprocess.run(words, capture_output=True).returncode == _HELD


class SteadyReader:
    """A connection for reading that goes on where damage comes to light under it: `anew` then gives another one that
    holds the same. Questions are put when their answer is fetched.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, anew: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self.connection = connection
        self.anew = anew
        self.has_met_damage = False

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "Question":
        """One query."""
        return Question(self, lambda connection: connection.execute(sql, list(parameters)))

    def ask(self, question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        """The answer; where damage is met, of the other connection. Raises StoreError where that fails as well."""
        try:
            return question(self.connection)
        except duckdb.Error as error:
            if not means_damage(error):
                raise
            if self.has_met_damage:
                raise StoreError(f"the catalog cannot be read, though it was made anew: {error}") from error
        self.connection.close()
        self.has_met_damage = True
        self.connection = self.anew()
        return self.ask(question)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


class Question:
    """What is asked of a SteadyReader, with the ways to fetch the answer that a DuckDB connection has."""

    def __init__(self, reader: SteadyReader, put: Callable[[duckdb.DuckDBPyConnection], Any]) -> None:
        self._reader = reader
        self._put = put

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return list(self._reader.ask(lambda connection: self._put(connection).fetchall()))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row."""
        row: tuple[Any, ...] | None = self._reader.ask(lambda connection: self._put(connection).fetchone())
        return row

    def fetchnumpy(self) -> dict[str, Any]:
        """All rows as NumPy arrays by column."""
        columns: dict[str, Any] = self._reader.ask(lambda connection: self._put(connection).fetchnumpy())
        return columns
