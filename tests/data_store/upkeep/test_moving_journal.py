"""Moving a journal to a server and back, joining it, and what backups, repair and strangers' stores make of it."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from data_store.catalog.entry_table import LEFT
from data_store.catalog.journal import Entry, Journal
from data_store.catalog.journal_table import TableJournal
from data_store.errors import BrokenJournalError, InputError, StoreError
from data_store.names import AssetName
from data_store.places import Places, read_places, write_places
from data_store.store import Store
from data_store.upkeep import moving_journal
from data_store.upkeep.backups import backup, restore, verify_backup
from data_store.upkeep.moving_journal import bring_journal_back, join, move_journal
from data_store.upkeep.repairs import repair
from data_store.upkeep.transfer import import_store
from data_store.upkeep.verification import verify
from data_store.upkeep.withdrawals import readmit, withdraw
from tests.data_store.machines import joined, two_machines
from tests.data_store.store_bench import Bench
from tests.postgres import Postgres

pytestmark = pytest.mark.cluster
POLICY = AssetName("model", "policy", "V1")


def lines(journal: Journal) -> list[str]:
    return [entry.line() for entry in journal.whole()]


def filled(bench: Bench, count: int = 3) -> Store:
    for number in range(count):
        bench.run("sft", {"model/policy@V1": f"weights {number}"})
    return bench.store


@pytest.mark.conformance(
    "a journal that is moved loses events, or goes on in two places",
    equation="data_store.upkeep.moving_journal:move_journal",
)
def test_a_journal_goes_to_a_table_and_back_line_by_line(bench: Bench, database: Postgres) -> None:
    store = filled(bench)
    before, heads, url = lines(store.catalog.journal), store.heads(), database.fresh()
    moved = move_journal(store, url, remove_old=True)
    assert (moved.entries, database.count(url)) == (3, 3)
    assert list((store.root / "journal").iterdir()) == []
    shared = Store.open(store.root)
    assert lines(shared.catalog.journal) == before
    shared.set_override("V1", "sft", "a", 1)
    assert bring_journal_back(shared, remove_old=True).entries == 4
    with psycopg.connect(database.url) as connection:
        gone = connection.execute("SELECT to_regnamespace(%s)", [url.rpartition("=")[2]]).fetchall()
    assert gone == [(None,)]
    back = Store.open(store.root)
    assert lines(back.catalog.journal)[:3] == before
    assert back.heads() == heads
    back.set_override("V1", "sft", "b", 1)  # the catalog's end is the end of a segment
    assert len(back.overrides()) == 2
    assert verify(back).problems == ()


class _KilledError(BaseException):
    pass


def killed_at(step: int) -> Callable[..., Any]:
    """A tracer that ends the process, as far as Python can, at the nth line that moving executes."""
    seen = 0

    def local(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == step:
                raise _KilledError
        return local

    def trace(frame: Any, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename == moving_journal.__file__ else None

    return trace


def cut_off(step: int, move: Callable[[], object]) -> bool:
    """Whether the move was cut off at this line; False where it was over before."""
    sys.settrace(killed_at(step))
    try:
        move()
    except _KilledError:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.conformance(
    "a journal that is moved loses events, or goes on in two places",
    equation="data_store.upkeep.moving_journal:move_journal",
)
def test_a_move_that_is_cut_off_anywhere_is_finished_by_the_same_call(
    tmp_path: Path, bench: Bench, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving_journal, "_AT_ONCE", 2)
    store = filled(bench, 2)
    for number in range(3):
        store.set_override("V1", "sft", f"k{number}", number)
    before, root, url, step, cuts = lines(store.catalog.journal), store.root, database.fresh(), 3, 0
    while cut_off(step, lambda: move_journal(Store.open(root), url)):
        step, cuts = step + 5, cuts + 1
    assert cuts > 5
    shared = Store.open(root)
    assert lines(shared.catalog.journal) == before
    shared.set_override("V1", "sft", "more", 1)
    step = 3
    while cut_off(step, lambda: bring_journal_back(Store.open(root))):
        step += 4
    back = Store.open(root)
    assert lines(back.catalog.journal)[: len(before)] == before
    assert len(back.overrides()) == 4
    assert verify(back).problems == ()


def test_a_process_that_was_open_before_the_move_writes_nowhere_until_it_is_started_again(
    bench: Bench, database: Postgres
) -> None:
    old = bench.store
    move_journal(Store.open(old.root), database.fresh())
    for question in (old.heads, old.rebuild, lambda: old.set_override("V1", "sft", "a", 1)):
        with pytest.raises(StoreError, match="has moved parts of the store meanwhile; start this again"):
            question()
    assert Journal(old.root).segments_there() == []
    assert len(Store.open(old.root).overrides()) == 1  # it waited in the spool


def test_a_table_that_is_another_stores_or_was_left_is_written_to_by_nobody(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    url = str(read_places(one.store.root).journal)
    stranger = Store.open(tmp_path / "stranger")
    with pytest.raises(InputError, match=r"holds the journal of another store .* \?schema=NAME"):
        move_journal(stranger, url)
    stranger.set_override("V1", "sft", "a", 1)
    with pytest.raises(InputError, match="has a journal of its own"):
        join(stranger.root, url, None)
    with pytest.raises(InputError, match="holds no journal"):
        join(tmp_path / "new", database.fresh(), None)
    two.store.set_override("V1", "sft", "a", 1)
    one.store.set_override("V1", "sft", "b", 1)
    bring_journal_back(one.store)
    journal = two.store.catalog.journal
    assert isinstance(journal, TableJournal)
    assert journal.table.state() == LEFT
    with pytest.raises(StoreError, match="is closed: the journal has been moved elsewhere"):
        two.store.set_override("V1", "sft", "c", 1)
    move_journal(Store.open(one.store.root), url)  # and there again: the same store's
    two.store.set_override("V1", "sft", "d", 1)
    assert [found.key for found in Store.open(one.store.root).overrides()] == ["a", "b", "c", "d"]


def test_a_journal_that_went_on_in_both_places_is_not_moved(bench: Bench, database: Postgres) -> None:
    store, url = filled(bench, 1), database.fresh()
    move_journal(store, url)
    Store.open(store.root).set_override("V1", "sft", "there", 1)
    places = read_places(store.root)
    write_places(store.root, places.model_copy(update={"journal": None}))  # by hand
    (store.root / "catalog.duckdb").unlink()
    Store.open(store.root).set_override("V1", "sft", "here", 1)
    with pytest.raises(InputError, match="they have gone apart"):
        move_journal(Store.open(store.root), url)


def test_a_backup_of_a_shared_store_is_one_of_the_usual_kind_and_goes_on_from_one_of_before(
    tmp_path: Path, bench: Bench, database: Postgres
) -> None:
    store, place, url = filled(bench), tmp_path / "backup", database.fresh()
    backup(store, place)
    move_journal(store, url)
    two = joined(tmp_path / "two" / "run", store.root, url, tmp_path / "work-two")
    two.run("ppo", {"model/policy@V1": "more"})
    assert backup(Store.open(store.root), place).problems == ()
    assert verify_backup(place).problems == ()
    assert not (place / "places.json").exists()
    assert lines(Journal(place)) == lines(two.store.catalog.journal)
    restore(place, tmp_path / "again", lambda _folder: None)
    assert Store.open(tmp_path / "again").heads() == two.store.heads()
    other = two_machines(tmp_path / "other", database)[0]
    other.run("sft", {"model/policy@V1": "another"})
    with pytest.raises(InputError, match="is not an earlier backup"):
        backup(other.store, place)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM entry WHERE seq > 2",
        "UPDATE entry SET line = 'nonsense' WHERE seq = 2",
        "DELETE FROM entry WHERE seq = 1",
    ],
)
def test_what_the_table_has_lost_or_broken_is_put_back_from_a_backup(
    tmp_path: Path, database: Postgres, damage: str
) -> None:
    one, two = two_machines(tmp_path, database)
    filled(one)
    before = lines(one.store.catalog.journal)
    backup(one.store, tmp_path / "backup")
    two.store.heads()
    url = str(read_places(one.store.root).journal)
    with psycopg.connect(database.url) as connection:
        connection.execute(f"SET search_path = {url.rpartition('=')[2]}".encode())
        connection.execute(damage.encode())
    found = repair(Store(one.store.root), tmp_path / "backup")
    assert found.left.problems == ()
    assert found.restored
    assert lines(one.store.catalog.journal) == before
    assert verify(two.store).problems == ()


def test_a_backup_of_another_history_puts_nothing_into_the_table(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    filled(one)
    other, _ = two_machines(tmp_path / "other", database)
    filled(other)
    backup(other.store, tmp_path / "backup")
    before = lines(one.store.catalog.journal)
    with pytest.raises(InputError, match="is of another store, or they have gone apart"):
        repair(Store(one.store.root), tmp_path / "backup")
    assert lines(one.store.catalog.journal) == before


@pytest.mark.conformance(
    "a server is asked because a stranger's folder names it", equation="data_store.upkeep.foreign:refuse_elsewhere"
)
def test_a_strangers_places_are_never_followed(tmp_path: Path, bench: Bench, database: Postgres) -> None:
    stranger = filled(Bench(Store.open(tmp_path / "stranger"), tmp_path / "work"))
    write_places(stranger.root, Places(journal="postgresql://elsewhere.example/halter", store="0" * 32))
    for use in (
        lambda: import_store(bench.store, stranger.root),
        lambda: restore(stranger.root, tmp_path / "made", lambda _folder: None),
        lambda: verify_backup(stranger.root),
        lambda: repair(bench.store, stranger.root),
        lambda: backup(bench.store, stranger.root),
    ):
        with pytest.raises(InputError, match="no server is asked because a folder names it"):
            use()


def test_withdrawals_of_one_machine_hold_on_the_other(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    published = one.store.publish("dataset", one.documents("a", "b"), row_kind="document")
    one.run("import_data", {"dataset/documents@base": published})
    withdraw(two.store, "source", "test.jsonl", "asked for")
    (found,) = one.store.withdrawals()
    assert (found.name, found.reason) == ("test.jsonl", "asked for")
    noted = one.store.catalog.read("SELECT version_id, n_rows FROM withdrawn_rows")
    assert noted == [(published.version_id, 2)]
    readmit(one.store, "source", "test.jsonl", "a mistake")
    assert two.store.withdrawals() == []


def test_a_store_that_cannot_be_written_to_is_read_with_what_the_table_has(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    one.store.set_override("V1", "sft", "a", 1)
    two.store.overrides()
    one.store.set_override("V1", "sft", "b", 1)
    two.store.catalog.read_only = True
    assert len(two.store.overrides()) == 2
    one.store.set_override("V1", "sft", "c", 1)
    assert len(two.store.overrides()) == 3


def test_a_folder_that_joins_again_goes_on_and_a_damaged_catalog_is_made_of_the_table(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    filled(one)
    url = str(read_places(one.store.root).journal)
    assert join(two.store.root, url, None).heads() == one.store.heads()
    (two.store.root / "catalog.duckdb").write_bytes(b"no catalog" * 1000)
    assert Store.open(two.store.root).head(POLICY) == one.store.head(POLICY)
    shutil.rmtree(two.store.root / "journal")
    (two.store.root / "journal").mkdir()
    assert verify(two.store).problems == ()


def test_a_journal_whose_first_row_is_gone_is_not_read_as_an_empty_one(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    filled(one)
    url = str(read_places(one.store.root).journal)
    with psycopg.connect(database.url) as connection:
        connection.execute(f"DELETE FROM {url.rpartition('=')[2]}.entry WHERE seq = 1".encode())
    with pytest.raises(BrokenJournalError, match="row 2 of entry"):
        join(tmp_path / "three", url, None)
    assert [entry.seq for entry in map(Entry.parse, lines(Journal(tmp_path))) if entry] == []
