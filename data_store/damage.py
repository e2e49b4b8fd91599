"""Damage in the catalog's file: which errors mean it, and reading that goes on where it comes to light.

DuckDB says much with one class. A block whose checksum is wrong and a file that is too short are an IOException (2.0
raises its base class for the first), and so are a lock of another program, a missing permission and a full disk. What
else it can be is therefore looked up, not read out of the text. A file that is wrongly taken for damaged costs one
rebuild and loses nothing: the journal holds everything.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from data_store.errors import StoreError

_STOPPED = "Query interrupted"
_DAMAGE = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)


class DamagedError(Exception):
    """The catalog's file is not sound; the journal can make it anew."""


def means_damage(error: BaseException) -> bool:
    """Whether DuckDB may have met damage in the file. After some of these its instance in this process is of no use
    any more, for all who have the file open; it goes with the last of their connections."""
    return type(error) is duckdb.Error or isinstance(error, _DAMAGE)


@contextmanager
def ctrl_c_heeded() -> Iterator[None]:
    """Ctrl-C that meets DuckDB at work is a KeyboardInterrupt again: DuckDB makes a RuntimeError of it, which whoever
    goes on after a failure takes for one. Its own interruptions are of a class of their own."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == _STOPPED:  # DuckDB 1 says why, 2 does not
            raise KeyboardInterrupt from None
        raise


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
            with ctrl_c_heeded():
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
