"""A user's own SQL: read-only, over copies, in a process that reaches nothing else and can be killed.

The catalog's tables are copied into a DuckDB in memory, so a long question keeps no writer waiting and nothing that it
does can reach the store. The question is put to views over them (`query_views.py`), and to one view per kind of rows
(`preferences`, `responses`, `scores` …) over the current versions of all assets, with the columns `asset` and
`version_id` in front. It is executed by a process of its own (`query_process.py`), whose time and memory are bounded
from here.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from data_store.catalog.query_process import HEAD, LENGTH
from data_store.catalog.query_views import ROW_VIEWS, VIEWS
from data_store.catalog.schema import PUBLIC_TABLES, VIEWS_SQL
from data_store.commands import halter
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.results import arrow_table
from data_store.rows import ROW_KINDS

QUERY_SECONDS = 60.0
QUERY_BYTES = min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
ANSWER_BYTES = 1 << 30
_LAYING_OUT_SECONDS = 300.0
_GRACE_SECONDS = 0.5  # between asking DuckDB to stop and killing the process
_LOOK_SECONDS = 0.02
_ROOT = Path(__file__).resolve().parents[2]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")  # no secret of the environment is where SQL is run


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
    memory: int = QUERY_BYTES,
) -> pa.Table:
    """The answer to one SELECT, at most its first `limit` rows. `row_files` holds (asset, version id, Parquet file) by
    view of rows; `memory` is in bytes.

    Raises InputError for anything but one SELECT, for SQL that DuckDB refuses, after `seconds`, and where the question
    or its answer needs too much memory.
    """
    request = {
        "sql": sql,
        "limit": limit,
        "seconds": seconds,
        "memory": memory,
        "views": [*_statements(VIEWS_SQL), *_views(row_files)],
        "readable": [str(path) for files in row_files.values() for _, _, path in files],
    }
    laid_out = {**tables, **{view: _empty(view) for view, files in row_files.items() if not files}}
    process = subprocess.Popen(
        [sys.executable, "-m", "data_store.catalog.query_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": str(_ROOT), **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}},
    )
    watch = _Watch(process, memory)
    watch.start()
    try:
        if process.stdin is None or process.stdout is None:
            raise StoreError("the process that answers has no pipes")
        _put(process.stdin, request, laid_out)
        return _answer(process.stdout, watch, seconds)
    finally:
        watch.end()


@dataclass
class _Watch(threading.Thread):
    """Ends the process when its time or its memory is used up; `why` says which."""

    process: subprocess.Popen[bytes]
    memory: int
    deadline: float = field(default_factory=lambda: time.monotonic() + _LAYING_OUT_SECONDS)
    why: str = ""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        base: int | None = None
        while not self._over.wait(_LOOK_SECONDS):
            held = _resident(self.process.pid)
            base = held if base is None else base
            if held - base > self.memory:
                self.why = "memory"
            elif time.monotonic() > self.deadline:
                self.why = "time"
            if self.why:
                self.process.kill()
                return

    def end(self) -> None:
        """Nothing of the process is left when this returns."""
        self._over.set()
        self.join()
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def _resident(pid: int) -> int:
    """The bytes of memory that a process has; 0 where that cannot be seen."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _put(pipe: IO[bytes], request: Mapping[str, object], tables: Mapping[str, pa.Table]) -> None:
    """Tell the process what it needs. That it has gone shows when its answer is read."""
    try:
        _send(pipe, json.dumps({**request, "tables": list(tables)}).encode())
        for table in tables.values():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            _send(pipe, sink.getvalue())
        pipe.flush()
    except BrokenPipeError:
        return


def _send(pipe: IO[bytes], content: bytes | pa.Buffer) -> None:
    pipe.write(LENGTH.pack(len(content)))
    pipe.write(content)


def _answer(pipe: IO[bytes], watch: _Watch, seconds: float) -> pa.Table:
    found = bytearray()
    for letter, content in _frames(pipe):
        if letter == b"R":
            watch.deadline = time.monotonic() + seconds + _GRACE_SECONDS
        elif letter == b"B":
            found += content
            if len(found) > ANSWER_BYTES:
                raise InputError(
                    f"the answer is larger than {ANSWER_BYTES >> 20} MiB; ask for fewer rows or columns, or take them "
                    f"with `{halter('export', 'parquet', 'FOLDER')}`"
                )
        elif letter == b"D":
            return pa.ipc.open_stream(pa.py_buffer(found)).read_all()
        else:
            error = json.loads(content)
            raise _refusal(error["kind"], error["text"], seconds, watch.memory)
    raise _refusal(watch.why or "memory", "", seconds, watch.memory)


def _frames(pipe: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What the process says, until it ends or is killed."""
    while len(head := pipe.read(HEAD.size)) == HEAD.size:
        letter, length = HEAD.unpack(head)
        content = pipe.read(length)
        if len(content) < length:
            return
        yield letter, content


def _refusal(kind: str, text: str, seconds: float, memory: int) -> InputError:
    if kind == "time":
        return InputError(f"the query took longer than {seconds:g} s and was stopped; ask for less")
    if kind == "memory":
        return InputError(f"the query needed more than {memory >> 20} MiB of memory and was stopped; ask for less")
    if kind == "catalog":
        return InputError(f"{text}\nThere are: {', '.join((*VIEWS, *ROW_VIEWS))}")
    return InputError(text)


def _statements(script: str) -> list[str]:
    return [script, *(f"CREATE VIEW {view} AS {sql}" for view, sql in VIEWS.items())]


def _views(row_files: Mapping[str, Sequence[tuple[AssetName, str, Path]]]) -> Iterator[str]:
    for view, files in row_files.items():
        parts = [
            f"FROM read_parquet({_quote(str(path))}) "
            f"SELECT {_quote(str(asset))} AS asset, {_quote(version)} AS version_id, *"
            for asset, version, path in files
        ]
        if parts:
            yield f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(parts)}"


def _empty(view: str) -> pa.Table:
    """A table without rows, with the columns of a view of rows."""
    empty = pa.table({"asset": pa.array([], pa.string()), "version_id": pa.array([], pa.string())})
    for column in ROW_KINDS[ROW_VIEWS[view]].schema:
        empty = empty.append_column(column, pa.array([], column.type))
    return empty


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
