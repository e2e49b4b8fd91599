"""The process that executes a user's SQL: it ends in time, with its memory bounded, and with whoever asked."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from data_store.catalog import query
from data_store.errors import InputError
from tests.data_store.store_bench import Bench

ROOT = Path(__file__).resolve().parents[3]
# One call of one function: DuckDB hears that it is to stop only when the call is done, which takes many minutes.
ONE_LONG_CALL = "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))"
MIB = 1 << 20


def ask(sql: str, **options: float) -> pa.Table:
    return query.run_sql(sql, {}, {}, **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions here are asked over nothing."""
    monkeypatch.setattr(query, "VIEWS_SQL", "SELECT 1")
    monkeypatch.setattr(query, "VIEWS", {})


def state(process: int) -> tuple[str, int]:
    """A process's state and its parent; `Z` where it has ended."""
    try:
        kind, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "Z", 0
    return kind, int(parent)


def questioners(asker: int) -> list[int]:
    """The processes of this asker's questions that run now. Other tests ask at the same time."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and state(int(entry.name))[1] == asker:
            with suppress(OSError):
                if b"data_store.catalog.query_process" in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_one_call_that_takes_too_long_is_ended_with_its_process() -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"longer than 0\.3 s and was stopped"):
        ask(ONE_LONG_CALL, seconds=0.3)
    assert time.monotonic() - started < 60, "it would have taken many minutes"
    assert questioners(os.getpid()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 4000000000))",
        "SELECT list_aggregate(range(1000000000), 'sum')",
        "SELECT range FROM range(1000000000) ORDER BY hash(range)",
        "SELECT string_agg(repeat('x', 1000000), '') FROM range(1000000)",
    ],
)
def test_memory_is_bounded(sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="needed more than 256 MiB of memory"):
        ask(sql, memory=256 * MIB, seconds=300)
    assert list(tmp_path.iterdir()) == [], "nothing was spilled beside it"


@pytest.mark.slow
def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "ANSWER_BYTES", MIB)
    with pytest.raises(InputError, match="the answer is larger than 1 MiB"):
        ask("SELECT repeat('x', 100000) FROM range(1000)", seconds=300)
    assert ask("SELECT repeat('x', 100000) FROM range(1000)", limit=3, seconds=300).num_rows == 3


def test_values_of_every_kind_come_through() -> None:
    sql = """
        SELECT [1, NULL, 2] AS list, {'a': 1, 'b': [{'c': 'x'}]} AS struct, MAP {'k': 1.5} AS map,
            1.25::DECIMAL(9, 2) AS d, 'é\u2028' AS text, NULL AS nothing,
            DATE '2026-01-02' AS day, TRUE AS yes, 'ab'::BLOB AS bytes"""
    (row,) = ask(sql, seconds=300).to_pylist()
    assert row["list"] == [1, None, 2]
    assert row["struct"] == {"a": 1, "b": [{"c": "x"}]}
    assert row["map"] == [("k", 1.5)]
    assert (str(row["d"]), row["text"], row["nothing"], str(row["day"]), row["yes"], row["bytes"]) == (
        *("1.25", "é\u2028", None, "2026-01-02", True, b"ab"),
    )
    assert ask("SELECT 1 AS n WHERE FALSE", seconds=300).column_names == ["n"]
    assert ask("SELECT range AS n FROM range(25000)", seconds=300).num_rows == 25000


def test_a_question_ends_with_whoever_asked() -> None:
    code = f"from data_store.catalog import query; query.run_sql({ONE_LONG_CALL!r}, {{}}, {{}})"
    code = f"from data_store.catalog import query; query.VIEWS_SQL = 'SELECT 1'; query.VIEWS = {{}}; {code}"
    asker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not (running := questioners(asker.pid)):
            assert time.monotonic() < deadline
            assert asker.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(asker.pid, signal.SIGKILL)
        while any(state(process)[0] != "Z" for process in running):
            assert time.monotonic() < deadline, "the question goes on without anybody who waits for it"
            time.sleep(0.05)
    finally:
        asker.kill()
        asker.wait()


def test_no_secret_of_the_environment_is_where_sql_is_executed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "beside")
    seen: list[bytes] = []
    monkeypatch.setattr(
        query._Watch, "run", lambda watch: seen.append(Path(f"/proc/{watch.process.pid}/environ").read_bytes())
    )
    bench.store.query("SELECT 1")
    assert b"PATH=" in seen[0]
    assert b"beside" not in seen[0]
