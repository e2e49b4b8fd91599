"""The journal as a table: what two machines that share it see, and what of it outlives a broken connection."""

import gc
import json
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from data_store.catalog import events
from data_store.catalog.journal import APPLIED, START, Entry
from data_store.catalog.journal_table import TableJournal
from data_store.catalog.postgres import Address
from data_store.collecting import collecting
from data_store.errors import BrokenJournalError, InputError, StoreError, UnreachableError
from data_store.names import AssetName
from data_store.places import Places, read_places, write_places
from data_store.records import RunRecord
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.machines import two_machines
from tests.postgres import Postgres

pytestmark = pytest.mark.cluster
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'halter'"
POLICY = AssetName("model", "policy", "V1")


def table_of(store: Store) -> TableJournal:
    journal = store.catalog.journal
    assert isinstance(journal, TableJournal)
    return journal


def sql(database: Postgres, store: Store, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"SET search_path = {table_of(store).table.address.schema}".encode())
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


@pytest.mark.conformance(
    "a machine judges and answers by a journal that it has not read to its end", equation="data_store.catalog.term:lead"
)
def test_each_machine_sees_the_heads_the_other_moved_and_judges_by_them(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    first = one.run("sft", {"model/policy@V1": "first"})
    seen = two.store.head(POLICY)
    assert seen is not None
    assert seen.run_id == first.run_id
    second = two.run("ppo", {"model/policy@V1": "second"}, ("model/policy@V1",))  # its input is of the other machine
    assert set(one.store.lineage(POLICY).runs) == {first.run_id, second.run_id}
    with pytest.raises(InputError, match="has already succeeded"):
        one.store.finish_run(second.run_id, "failed", "")
    assert [entry.seq for entry in table_of(one.store).whole()] == [1, 2, 3]
    for each in (one, two):
        assert verify(each.store).problems == ()
    heads = one.store.heads()
    two.store.rebuild()
    assert two.store.heads() == heads


def test_the_table_holds_the_lines_that_segments_hold_chained_by_the_same_hashes(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    one.store.set_override("V1", "sft", "a", "한글\u0000\u2028")
    two.store.set_override("V1", "sft", "b", 2)
    lines = [str(line) for (line,) in sql(database, one.store, "SELECT line FROM entry ORDER BY seq")]
    entries = [entry for line in lines if (entry := Entry.parse(line))]
    assert [entry.prev for entry in entries] == [START, entries[0].sha256]
    assert [entry.line() for entry in entries] == lines
    assert Entry.after(0, START, APPLIED, entries[0].event) == entries[0]
    assert {json.loads(override.value_json) for override in two.store.overrides()} == {"한글\u0000\u2028", 2}


@pytest.mark.conformance(
    "an event whose commit was never answered is applied twice", equation="data_store.catalog.term:lead"
)
def test_an_event_whose_commit_was_never_answered_is_in_once(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    journal = table_of(one.store)
    waiting = journal.submit(events.override_set("V1", "sft", "a", "1"))
    ((_, event),) = journal.pending(1)
    with journal.turn(0, START):  # what a leader leaves that is killed behind its commit
        journal.append([Entry.after(0, START, APPLIED, event)])
    assert waiting.exists()
    two.store.set_override("V1", "sft", "b", 2)
    one.store.set_override("V1", "sft", "c", 3)
    assert not waiting.exists()
    assert [entry.seq for entry in journal.whole()] == [1, 2, 3]
    for each in (one, two):
        assert {override.key for override in each.store.overrides()} == {"a", "b", "c"}


def test_a_batch_whose_turn_fails_leaves_nothing_in_the_table(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    journal = table_of(one.store)
    with suppress(ZeroDivisionError), journal.turn(0, START):
        journal.append([Entry.after(0, START, APPLIED, events.override_set("V1", "sft", "a", "1"))])
        1 / 0  # noqa: B018  (DuckDB says no)
    assert journal.reach() == 0
    one.store.set_override("V1", "sft", "b", 2)
    assert journal.reach() == 1


def test_a_connection_that_the_server_ends_is_made_again_and_the_write_goes_through(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    for number in range(3):
        one.store.set_override("V1", "sft", f"a{number}", 1)
        two.store.overrides()
        sql(
            database,
            one.store,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'halter'",
        )
    one.store.set_override("V1", "sft", "last", 1)
    assert len(two.store.overrides()) == 4
    assert table_of(one.store).reach() == 4


def test_a_write_that_finds_no_server_waits_in_the_spool_and_is_applied_by_the_next(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    root = one.store.root
    places = read_places(root)
    away = places.model_copy(update={"journal": str(places.journal).replace(str(database.folder), "/nowhere")})
    write_places(root, away)
    with pytest.raises(UnreachableError, match=r"does not answer.*the write waits in"):
        Store(root, wait_seconds=0.3).set_override("V1", "sft", "a", 1)
    write_places(root, places)
    Store.open(root)
    assert [override.key for override in two.store.overrides()] == ["a"]


def test_a_store_speaks_to_no_other_stores_journal_and_to_no_older_state_of_its_own(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    one.store.set_override("V1", "sft", "a", 1)
    one.store.set_override("V1", "sft", "b", 1)
    assert len(two.store.overrides()) == 2
    other, _ = two_machines(tmp_path / "other", database)
    mixed = Places(journal=read_places(one.store.root).journal, store=read_places(other.store.root).store)
    write_places(other.store.root, mixed)
    with pytest.raises(StoreError, match="holds the journal of another store"):
        Store.open(other.store.root)
    sql(database, one.store, "DELETE FROM entry WHERE seq = 2")
    with pytest.raises(BrokenJournalError, match="ends with event 1, and this machine has read 2"):
        Store.open(one.store.root)


def test_a_changed_row_is_found_whichever_column_says_so(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    for key in "abc":
        one.store.set_override("V1", "sft", key, 1)
    sql(database, one.store, 'UPDATE entry SET line = replace(line, \'"name":"b"\', \'"name":"x"\') WHERE seq = 2')
    (problem,) = verify(one.store).problems
    assert "row 2 of entry: the chain of hashes is broken" in problem


def test_a_reader_comes_to_an_end_while_the_other_machine_writes_without_a_pause(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            one.store.set_override("V1", "sft", f"k{number}", number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = [len(two.store.overrides()) for _ in range(15)]
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


@pytest.mark.conformance(
    "the collector of one machine removes what another is publishing or reading",
    equation="data_store.collecting:collecting_forbidden",
)
def test_the_collector_of_one_machine_and_the_content_of_another_keep_each_other_out(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    one.run("sft", {"model/policy@V1": "old"})
    two.store.catalog.wait_seconds = 0.2
    with (
        one.store.collecting_forbidden(),
        one.store.collecting_forbidden(),
        pytest.raises(StoreError, match="another machine have held the collector's lock"),
    ):
        collect(two.store)
    with (
        collecting(one.store.root, one.store.catalog),
        pytest.raises(StoreError, match="another machine have held the collector's lock"),
    ):
        two.publish("new")
    collect(two.store)  # each has let go


def test_who_lost_the_lock_hears_of_a_collector_that_got_in_and_of_none_that_did_not(
    tmp_path: Path, database: Postgres
) -> None:
    one, two = two_machines(tmp_path, database)
    with one.store.collecting_forbidden():
        sql(database, one.store, END_ALL)
    with pytest.raises(StoreError, match="ran on another machine meanwhile"):
        _write_while_collected(database, one.store, two.store)
    with pytest.raises(StoreError, match="lost while content was being removed"):
        _collect_and_be_cut_off(database, one.store)


def _write_while_collected(database: Postgres, store: Store, other: Store) -> None:
    with store.collecting_forbidden():
        sql(database, store, END_ALL)
        collect(other, dry_run=False)


def _collect_and_be_cut_off(database: Postgres, store: Store) -> None:
    with collecting(store.root, store.catalog) as check_alone:
        check_alone()
        sql(database, store, END_ALL)
        with pytest.raises(UnreachableError):
            check_alone()
        check_alone()


@pytest.mark.conformance(
    "a step of another machine is taken for dead, or begun a second time", equation="tasks.engine.alone:is_at_work"
)
def test_a_step_of_one_machine_is_at_work_for_the_other_which_keeps_what_it_reads(
    tmp_path: Path, database: Postgres
) -> None:
    from tasks.engine.alone import is_at_work

    one, two = two_machines(tmp_path, database)
    others = two.store.catalog.journal.others
    read = one.run("sft", {"model/policy@V1": "first"})
    version = one.store.heads()[POLICY].version_id
    one.run("sft", {"model/policy@V1": "second"})
    record = RunRecord("ppo", "V1", "f" * 64, "1", {}, 0)
    with one.store.catalog.journal.others.alone("f" * 32, lambda: None):
        one.store.begin_run(record, [version])
        assert is_at_work(two.store, "f" * 64)
        assert not is_at_work(two.store, "e" * 64)
        waited: list[bool] = []
        begun = threading.Thread(target=_begin, args=(two.store, waited))
        begun.start()
        for fate in (True, False):
            retention = Retention(keep_versions=0, keep_days=0)
            done = collect(
                two.store,
                dry_run=fate,
                retention=retention,
                is_at_work=lambda fingerprint: is_at_work(two.store, fingerprint),
                grace_seconds=-1.0,
            )
            assert done.retired == ()
        assert begun.is_alive()
    begun.join(timeout=30)
    assert waited == [True]
    assert not is_at_work(two.store, "f" * 64)
    assert not others.is_held("f" * 32)
    assert read.run_id in {summary.run.run_id for summary in two.store.runs(state="succeeded")}


def _begin(store: Store, waited: list[bool]) -> None:
    with store.catalog.journal.others.alone("f" * 32, lambda: waited.append(True)):
        pass


def test_machines_of_one_config_run_side_by_side_and_of_two_do_not(tmp_path: Path, database: Postgres) -> None:
    one, two = two_machines(tmp_path, database)
    here, there = (each.store.catalog.journal.others for each in (one, two))
    with here.of_one_config("a" * 64) as first, there.of_one_config("a" * 64) as second:
        assert (first, second) == (True, True)
    with here.of_one_config("a" * 64), there.of_one_config("b" * 64) as other:
        assert not other
    with there.of_one_config("b" * 64) as other:
        assert other


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/db", "no address of PostgreSQL"),
        ("postgresql://host", "names no database"),
        ("postgresql://me:geheim@host/db", "holds a password"),
        ("postgresql://host/db?password=geheim", "holds a password"),
        ("postgresql://host/db?sslpassword=geheim", "holds a password"),
        ("postgresql://host/db?schema=a;drop", "cannot be the name of a schema"),
    ],
)
def test_an_address_that_is_none_or_holds_a_password_is_refused_and_the_password_not_repeated(
    url: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Address.parse(url)
    assert "geheim" not in str(caught.value)


def test_the_schema_is_ours_and_the_rest_of_an_address_is_libpqs() -> None:
    found = Address.parse("postgresql://me@host:5433/db?sslmode=verify-full&schema=demo&passfile=/a/b")
    assert found == Address("postgresql://me@host:5433/db?sslmode=verify-full&passfile=/a/b", "demo")


def test_a_store_copied_with_its_places_joins_and_keeps_its_own_catalog(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    one.store.set_override("V1", "sft", "a", 1)
    copy = tmp_path / "copy"
    shutil.copytree(one.store.root, copy, symlinks=True)
    Store.open(copy).set_override("V1", "sft", "b", 1)
    assert len(one.store.overrides()) == 2


def test_a_store_that_nobody_has_any_more_holds_no_connection(tmp_path: Path, database: Postgres) -> None:
    one, _ = two_machines(tmp_path, database)
    gc.disable()  # what is in a circle would stay until a collection
    try:
        for _ in range(5):
            store = Store.open(one.store.root)
            with store.collecting_forbidden():
                store.overrides()
        there = sql(database, one.store, "SELECT pid FROM pg_stat_activity WHERE application_name = 'halter'")
    finally:
        gc.enable()
    assert len(there) <= 6  # of the two machines and of the last store
