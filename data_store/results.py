"""What DuckDB answers, fetched to its end.

The answer to `execute` lies on its connection until it was fetched to its end. Until then DuckDB 2 refuses a relation
(`sql`, `table`) and `register` on that connection, and `fetchone` does not look whether it has seen the end. An Arrow
table of such an answer costs a copy, too, of which DuckDB 2 warns: it comes from a relation here, on a cursor, which is
a connection of its own to the same database.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from data_store.damage import SteadyReader


def first_row(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()
) -> tuple[Any, ...] | None:
    """The first row of the answer to a SELECT of few rows, or None."""
    return next(iter(connection.execute(sql, list(parameters)).fetchall()), None)


def arrow_table(
    connection: duckdb.DuckDBPyConnection | SteadyReader, sql: str, parameters: Sequence[Any] = ()
) -> pa.Table:
    """The answer to one SELECT. It sees what is committed, not what a transaction of the connection has changed."""
    if isinstance(connection, SteadyReader):
        return connection.ask(lambda steady: arrow_table(steady, sql, parameters))
    with connection.cursor() as own:
        return own.sql(sql, params=list(parameters)).to_arrow_table()
