"""Writing events into DuckDB as rows: the catalog's file, made anew or added to."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from data_store.catalog.events import TABLES, Rows, project
from data_store.catalog.journal import APPLIED, START, Entry
from data_store.catalog.schema import statements
from data_store.records import now
from data_store.results import first_row

_REPLAY_BATCH = 5000
# One configuration for all connections: within one process DuckDB refuses to open a file twice in different ways.
# 2.0 writes a format that 1.5 can open. One thread: opening is most of the work, and it costs a third less.
# No other file and no network: a file that came from elsewhere could hold views that read them.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": "v1.5.0",
    "threads": 1,
    "enable_external_access": False,
    "python_enable_replacements": False,
}


def build(file: Path, entries: Iterable[Entry], upto: int | None = None) -> None:
    """Write a new catalog file of the first `upto` migrations (all by default) with these entries applied."""
    connection = duckdb.connect(str(file), config=CONFIG)
    try:
        _fill(connection, entries, upto)
        connection.execute("CHECKPOINT")
    finally:
        connection.close()


def build_in_memory(entries: Iterable[Entry]) -> duckdb.DuckDBPyConnection:
    """A catalog with these entries applied that lies in no file; its user closes it."""
    connection = duckdb.connect(":memory:", config=CONFIG)
    try:
        _fill(connection, entries, None)
    except BaseException:
        connection.close()
        raise
    return connection


def _fill(connection: duckdb.DuckDBPyConnection, entries: Iterable[Entry], upto: int | None) -> None:
    connection.execute("CREATE TABLE migration (n INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, applied_at TIMESTAMP)")
    for n, sql, sha256 in statements(upto):
        connection.execute(sql)
        connection.execute("INSERT INTO migration VALUES (?, ?, ?)", [n, sha256, now().replace(tzinfo=None)])
    replay(connection, entries)


def replay(connection: duckdb.DuckDBPyConnection, entries: Iterable[Entry]) -> None:
    """Apply journal entries as their outcomes say, without judging them again."""
    rows: Rows = {}
    count = 0
    connection.begin()
    for count, entry in enumerate(entries, start=1):
        merge(rows, rows_of(entry))
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


def rows_of(entry: Entry) -> Rows:
    """The rows that an entry adds: its own if it was applied, and that it is known in any case."""
    rows = project(entry.event, entry.seq) if entry.outcome == APPLIED else {}
    rows["applied_event"] = [(entry.event["event_id"], entry.seq, entry.prev, entry.sha256, entry.outcome)]
    return rows


def merge(rows: Rows, more: Rows) -> None:
    """Add rows to rows, table by table."""
    for table, values in more.items():
        rows.setdefault(table, []).extend(values)


def tail(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    """The number and the hash of the newest entry that the catalog holds."""
    found = first_row(connection, "SELECT seq, sha256 FROM applied_event ORDER BY seq DESC LIMIT 1")
    return (int(found[0]), str(found[1])) if found else (0, START)


def last_seq(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the newest entry that the catalog holds, 0 for none."""
    found = first_row(connection, "SELECT max(seq) FROM applied_event")
    return int(found[0] or 0) if found else 0


def migrations_wanted() -> list[tuple[int, str]]:
    """(n, sha256) of the migrations that this code knows."""
    return [(n, sha256) for n, _, sha256 in statements()]


def migrations_in(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """(n, sha256) of the migrations that a file has seen; none for a file that is no catalog."""
    try:
        return connection.execute("SELECT n, sha256 FROM migration ORDER BY n").fetchall()
    except duckdb.CatalogException:
        return []
