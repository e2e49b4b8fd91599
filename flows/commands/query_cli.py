"""`halter query`: a user's own SQL over a run's store, read-only."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from data_store.catalog.query import QUERY_SECONDS
from data_store.catalog.query_views import ROW_VIEWS, VIEWS
from data_store.errors import InputError
from data_store.rows import ROW_KINDS
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, console, errors, guarded, print_json
from flows.session import opened

DEFAULT_LIMIT = 1000


@guarded
def query(
    sql: Annotated[
        str | None,
        typer.Argument(metavar="[SQL]", help="One SELECT; without it the views are listed"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most rows to print; 0 for all.")] = DEFAULT_LIMIT,
    seconds: Annotated[float, typer.Option("--seconds", min=0.001, help="Stop after this time.")] = QUERY_SECONDS,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the store by SQL: runs, versions, metrics, preferences, responses, scores … It is only read."""
    if as_csv and as_json:
        raise InputError("--csv and --json: give one of the two")
    _, store = opened(name)
    if sql is None:
        listed = [{"view": view, "columns": list(columns)} for view, columns in columns_of_views(store).items()]
        rows, columns, more = listed, ["view", "columns"], False
        if not (as_json or as_csv):
            rows = [{**row, "columns": ", ".join(row["columns"])} for row in listed]
    else:
        table = store.query(sql, seconds=seconds, limit=limit + 1 if limit else None)
        columns = table.column_names
        if len(set(columns)) < len(columns):
            raise InputError(f"two columns have the same name ({', '.join(columns)}); name them with AS")
        more = bool(limit) and table.num_rows > limit
        rows = [_plain(row) for row in table.slice(0, limit or None).to_pylist()]
    if as_json:
        print_json({"columns": columns, "rows": rows, "truncated": more})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row[column]) for column in columns] for row in rows)
    else:
        _print(columns, rows)
    if more and not as_json:
        errors.print(f"these are the first {limit} rows; --limit 0 prints all", highlight=False)


def columns_of_views(store: Store) -> Mapping[str, Sequence[str]]:
    """The views and their columns, as SQL sees them."""
    sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main' ORDER BY column_index"
    found: dict[str, list[str]] = {view: [] for view in VIEWS}
    for row in store.query(sql).to_pylist():
        if row["table_name"] in found:
            found[row["table_name"]].append(row["column_name"])
    return found | {view: ["asset", "version_id", *ROW_KINDS[kind].schema.names] for view, kind in ROW_VIEWS.items()}


def _print(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(row[column])) for column in columns))
    console.print(table)


def _plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601, bytes in hexadecimal, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _text(value: Any) -> str:
    """A value as one cell: lists and structs whole, as JSON; nothing for null."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
