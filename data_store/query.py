"""A user's own SQL: read-only, over copies, in a connection that reaches nothing else.

The catalog's tables are copied into a DuckDB in memory, so a long question keeps no writer waiting and nothing that it
does can reach the store. The question is put to views over them (`query_views.py`), and to one view per kind of rows
(`preferences`, `responses`, `scores` …) over the current versions of all assets, with the columns `asset` and
`version_id` in front. Then the doors are closed: no other file, no network, no extension, no Python variable, and no
way to open them again.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.query_views import ROW_VIEWS, VIEWS
from data_store.results import arrow_table
from data_store.rows import ROW_KINDS
from data_store.schema import PUBLIC_TABLES, VIEWS_SQL

QUERY_SECONDS = 60.0
_BATCH = 10_000  # rows that are fetched at a time


def copy_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """The public tables of the catalog."""
    return {name: arrow_table(connection, f"FROM {name}") for name in PUBLIC_TABLES}


def row_views_in(sql: str) -> list[str]:
    """The views of rows that a text speaks of; only their rows have to be laid out for it."""
    words = set(re.findall(r"[a-z_]+", sql.lower()))
    return [name for name in ROW_VIEWS if name in words]


def run_sql(
    sql: str,
    tables: Mapping[str, pa.Table],
    row_files: Mapping[str, Sequence[tuple[AssetName, str, Path]]],
    *,
    seconds: float = QUERY_SECONDS,
    limit: int | None = None,
) -> pa.Table:
    """The answer to one SELECT, at most its first `limit` rows. `row_files` holds (asset, version id, Parquet file) by
    view of rows.

    Raises InputError for anything but one SELECT, for SQL that DuckDB refuses, and after `seconds`.
    """
    connection = duckdb.connect(":memory:")
    try:
        statement = _only_select(connection, sql)
        _furnish(connection, tables, row_files)
        _close_doors(connection, [path for files in row_files.values() for _, _, path in files])
        return _ask(connection, statement, seconds, limit)
    finally:
        connection.close()


def _furnish(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, pa.Table],
    row_files: Mapping[str, Sequence[tuple[AssetName, str, Path]]],
) -> None:
    for name, table in tables.items():
        connection.register("incoming", table)
        connection.execute(f"CREATE TABLE {name} AS FROM incoming")
        connection.unregister("incoming")
    connection.execute(VIEWS_SQL)
    for view, sql in VIEWS.items():
        connection.execute(f"CREATE VIEW {view} AS {sql}")
    for view, files in row_files.items():
        if files:
            parts = [
                f"FROM read_parquet({_quote(str(path))}) "
                f"SELECT {_quote(str(asset))} AS asset, {_quote(version)} AS version_id, *"
                for asset, version, path in files
            ]
            connection.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(parts)}")
        else:
            empty = pa.table({"asset": pa.array([], pa.string()), "version_id": pa.array([], pa.string())})
            for field in ROW_KINDS[ROW_VIEWS[view]].schema:
                empty = empty.append_column(field, pa.array([], field.type))
            connection.register("incoming", empty)
            connection.execute(f"CREATE TABLE {view} AS FROM incoming")
            connection.unregister("incoming")


def _close_doors(connection: duckdb.DuckDBPyConnection, readable: Sequence[Path]) -> None:
    for setting in (
        f"allowed_paths = [{', '.join(_quote(str(path)) for path in readable)}]",
        "enable_external_access = false",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "arrow_large_buffer_size = true",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(str(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InputError("a query is one SELECT; the store is changed by its own commands only")
    return statements[0]


def _ask(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, seconds: float, limit: int | None
) -> pa.Table:
    offered = ", ".join((*VIEWS, *ROW_VIEWS))
    alarm = threading.Timer(seconds, connection.interrupt)
    alarm.start()
    try:
        reader = connection.sql(statement).to_arrow_reader(_BATCH)
        found, count = [], 0
        for batch in reader:
            found.append(batch)
            count += batch.num_rows
            if limit is not None and count >= limit:
                break
        answer = pa.Table.from_batches(found, schema=reader.schema)
        return answer if limit is None else answer.slice(0, limit)
    except duckdb.InterruptException:
        raise InputError(f"the query took longer than {seconds:g} s and was stopped; ask for less") from None
    except duckdb.CatalogException as error:
        raise InputError(f"{error}\nThere are: {offered}") from None
    except duckdb.Error as error:
        raise InputError(str(error)) from None
    finally:
        alarm.cancel()


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
