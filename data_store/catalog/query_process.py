"""The process in which a user's SQL is executed: `python -m data_store.catalog.query_process`, started by `query.py`
for one question and killed when its time or its memory is used up. DuckDB can be asked to stop, but a single call of a
function does not hear of it before it is done.

It is told all that it needs through its standard input, and answers in frames: one letter, the length, the content.

    R   the tables are there, the doors are closed, the question is put now
    B   a piece of the answer as an Arrow stream     D   that was all
    E   the error, as JSON: {"kind": "input" | "catalog" | "time" | "memory", "text": …}
"""

import json
import os
import resource
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":  # DuckDB and Arrow load these when they find them, for longer than most questions take
    for _name in ("numpy", "pandas", "polars", "pyarrow.dataset"):
        sys.modules[_name] = None  # type: ignore[assignment]

import duckdb
import pyarrow as pa

HEAD = struct.Struct(">cQ")
LENGTH = struct.Struct(">Q")
_BATCH = 10_000  # rows that are fetched at a time
_MEMORY_OF_DATABASE = 0.8  # the rest is for what DuckDB does not count: the values of one call, the answer on its way


class _Refused(Exception):  # noqa: N818  (it is an answer)
    """The question is none that is answered."""


class _Frames:
    """A file for Arrow to write to: each piece becomes a frame."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self.out = out

    def send(self, letter: bytes, content: bytes = b"") -> None:
        self.out.write(HEAD.pack(letter, len(content)) + content)
        self.out.flush()

    def write(self, content: Any) -> int:
        self.send(b"B", bytes(content))
        return len(content)

    def flush(self) -> None:
        """Each frame is flushed as it is."""

    def close(self) -> None:
        """The process ends anyway."""

    def writable(self) -> bool:
        return True


def main() -> None:
    """Answer the question that stands on the standard input."""
    frames = _Frames(sys.stdout.buffer)
    source = sys.stdin.buffer
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # before all others, should the machine run out of memory
    request = json.loads(_read(source))
    tables = {name: pa.ipc.open_stream(_read(source)).read_all() for name in request["tables"]}
    threading.Thread(target=_end_with_asker, args=(source,), daemon=True).start()
    try:
        connection = duckdb.connect(":memory:")
        statement = _only_select(connection, request["sql"])
        _furnish(connection, request, tables)
        tables.clear()
        _bound(request["memory"])
        frames.send(b"R")
        _answer(connection, statement, request, frames)
    except (duckdb.OutOfMemoryException, MemoryError):
        _tell(frames, "memory", "")
    except duckdb.InterruptException:
        _tell(frames, "time", "")
    except duckdb.CatalogException as error:
        _tell(frames, "catalog", str(error))
    except (duckdb.Error, _Refused, pa.ArrowException) as error:
        _tell(frames, "memory" if "bad_alloc" in str(error) else "input", str(error))
    finally:
        sys.stdout.flush()
        os._exit(0)  # what a question has laid out need not be taken apart again


def _read(source: BinaryIO) -> bytes:
    (length,) = LENGTH.unpack(source.read(LENGTH.size))
    return source.read(length)


def _end_with_asker(source: BinaryIO) -> None:
    source.read(1)  # nothing more comes: this returns when the asker has gone
    os._exit(1)


def _tell(frames: _Frames, kind: str, text: str) -> None:
    frames.send(b"E", json.dumps({"kind": kind, "text": text}).encode())


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _Refused("a query is one SELECT; the store is changed by its own commands only")
    return statements[0]


def _furnish(connection: duckdb.DuckDBPyConnection, request: dict[str, Any], tables: dict[str, pa.Table]) -> None:
    """Lay out what can be asked, then close the doors: no other file, no network, no extension, no Python variable, and
    no way to open them again."""
    for name, table in tables.items():
        connection.register("incoming", table)
        connection.execute(f"CREATE TABLE {name} AS FROM incoming")
        connection.unregister("incoming")
    for sql in request["views"]:
        connection.execute(sql)
    readable = ", ".join("'" + path.replace("'", "''") + "'" for path in request["readable"])
    for setting in (
        f"memory_limit = '{int(request['memory'] * _MEMORY_OF_DATABASE) >> 20}MiB'",
        "temp_directory = ''",
        f"allowed_paths = [{readable}]",
        "enable_external_access = false",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "arrow_large_buffer_size = true",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _bound(memory: int) -> None:
    """No file can be written from here on, and not much more memory had than is allowed."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        # Twice, because allocators set space aside that they do not use; who asked watches over what is used.
        resource.setrlimit(resource.RLIMIT_DATA, (held + 2 * memory, held + 2 * memory))


def _answer(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, request: dict[str, Any], frames: _Frames
) -> None:
    alarm = threading.Timer(request["seconds"], connection.interrupt)
    alarm.daemon = True
    alarm.start()
    left = request["limit"]
    reader = connection.sql(statement).to_arrow_reader(_BATCH)
    with pa.ipc.new_stream(pa.PythonFile(frames, mode="w"), reader.schema) as writer:
        while left is None or left > 0:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            writer.write_batch(batch if left is None else batch.slice(0, left))
            left = None if left is None else left - batch.num_rows
    alarm.cancel()
    frames.send(b"D")


if __name__ == "__main__":
    main()
