import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from data_store.annotation import schema as book_schema
from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.people import annotators
from data_store.catalog import events, schema
from data_store.catalog.schema import MIGRATIONS
from data_store.errors import StoreError
from data_store.records import RunRecord
from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.fixture_store import STORES, tells, unpack

FIXTURES = sorted(STORES.glob("*.tar.gz"))
OLD = STORES / "schema-2-book-1.tar.gz"


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A store of the oldest schema that people may have, and what it said of itself then."""
    return unpack(OLD, tmp_path)


def schema_of(root: Path) -> int:
    with duckdb.connect(str(root / "catalog.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT max(n) FROM migration").fetchone()
        assert found is not None
        return int(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.name)
def test_a_store_of_each_earlier_schema_opens_and_tells_what_it_told_then(file: Path, tmp_path: Path) -> None:
    root, told = unpack(file, tmp_path)
    assert schema_of(root) == int(file.name.split("-")[1])
    store = Store.open(root)
    assert schema_of(root) == len(MIGRATIONS)
    assert tells(store, told) == told
    assert verify(store).problems == ()


def test_an_upgraded_store_is_written_to_as_any_other(old: tuple[Path, dict[str, Any]]) -> None:
    store = Store.open(old[0])
    version = next(iter(store.heads().values())).version_id
    store.begin_run(RunRecord("sft", "V1", "new", "1", {}, 0, run_id="new"), [version])
    assert store.catalog.read("SELECT * FROM run_read") == [("new", version)]
    assert Store.open(old[0]).runs(run_id="new")[0].state == "running"


@pytest.mark.slow
def test_a_later_migration_reads_the_past_out_of_the_journal(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema of tomorrow: a table that is filled from events which were written before it was thought of."""

    def failures() -> str:
        return "CREATE TABLE failure (run_id TEXT PRIMARY KEY, detail TEXT NOT NULL)"

    ended: Callable[..., None] = events._PROJECTIONS["run_ended"]

    def project(event: events.Event, seq: int, rows: events.Rows) -> None:
        ended(event, seq, rows)
        rows.setdefault("failure", []).append((event["run_id"], event["detail"]))

    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, failures))
    monkeypatch.setitem(events.TABLES, "failure", (("run_id", "detail"), False))  # type: ignore[arg-type]
    monkeypatch.setitem(events._PROJECTIONS, "run_ended", project)  # type: ignore[arg-type]
    store = Store.open(old[0])
    assert store.catalog.read("SELECT detail FROM failure") == [("out of memory",)]
    assert tells(store, old[1]) == old[1]
    monkeypatch.undo()
    with pytest.raises(StoreError, match=f"has schema {len(MIGRATIONS) + 1}, this halter knows {len(MIGRATIONS)}"):
        Store.open(old[0])


@pytest.mark.slow
def test_an_upgrade_that_fails_leaves_the_old_catalog_as_it_is(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        return "CREATE TABLE run (again TEXT)"

    before = (old[0] / "catalog.duckdb").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(duckdb.CatalogException):
            Store.open(old[0])
    assert (old[0] / "catalog.duckdb").read_bytes() == before
    assert tells(Store.open(old[0]), old[1]) == old[1]


@pytest.mark.parametrize("segment", [9, 18])
def test_no_upgrade_is_made_from_a_journal_with_a_hole(old: tuple[Path, dict[str, Any]], segment: int) -> None:
    """The old catalog still knows what a new one, made of the journal, would have lost."""
    (old[0] / "journal" / f"{segment:012d}.jsonl").unlink()
    before = (old[0] / "catalog.duckdb").read_bytes()
    with pytest.raises(StoreError, match="segment"):
        Store.open(old[0])
    assert (old[0] / "catalog.duckdb").read_bytes() == before


@pytest.mark.slow
def test_an_older_book_is_brought_up_to_date_with_its_judgements(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def countries() -> str:
        return (
            "CREATE TABLE country (name TEXT PRIMARY KEY REFERENCES annotator, code TEXT NOT NULL) STRICT;\n"
            "INSERT INTO country SELECT name, 'unknown' FROM annotator;\n"
        )

    shutil.copyfile(old[0] / BOOK_FILE, old[0].parent / BOOK_FILE)
    monkeypatch.setattr(book_schema, "MIGRATIONS", (*book_schema.MIGRATIONS, countries))
    for _ in range(2):  # once is enough, and a second opening does nothing more
        book = Book.open(old[0])
        with book.reading() as connection:
            assert [tuple(row) for row in connection.execute("SELECT * FROM country")] == [("anna", "unknown")]
        book.close()
    store = Store.open(old[0])
    assert tells(store, old[1]) == old[1]
    monkeypatch.undo()
    known = len(book_schema.MIGRATIONS)
    with pytest.raises(StoreError, match=f"has format {known + 1}, this halter knows {known}; upgrade halter"):
        Book.open(old[0])


def test_a_book_whose_upgrade_fails_stays_as_it_was(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        return "CREATE TABLE country (code TEXT) STRICT;\nCREATE TABLE item (again TEXT) STRICT;\n"

    with monkeypatch.context() as patch:
        patch.setattr(book_schema, "MIGRATIONS", (*book_schema.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="already exists"):
            Book.open(old[0])
    connection = sqlite3.connect(old[0] / BOOK_FILE)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'country'").fetchone() == (0,)
    connection.close()
    book = Book.open(old[0])
    assert [one.name for one in annotators(book)] == ["anna"]
    book.close()
