import json
import shutil
import threading
import time
from pathlib import Path

import duckdb
import pytest

from data_store.catalog import events, term
from data_store.catalog.catalog import Catalog
from data_store.catalog.journal import APPLIED, START, Entry
from data_store.catalog.projection import build
from data_store.catalog.schema import MIGRATIONS, statements
from data_store.errors import InputError, StoreError
from data_store.incoming.sources import register_file
from data_store.layout import MARKER
from data_store.locks import locked
from data_store.names import AssetName
from data_store.records import RunInput, RunOutput, RunRecord
from data_store.store import Store
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
DOCUMENTS = AssetName.parse("dataset/documents@base")
TABLES = [*events.TABLES]


def record(run_id: str = "run-1") -> RunRecord:
    return RunRecord("train", "V1", "fingerprint", "1", {}, 0, run_id=run_id)


def contents(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, but for when the schema was laid down."""
    with store.catalog.reading() as connection:
        return {name: sorted(connection.execute(f"FROM {name}").fetchall(), key=repr) for name in TABLES}


def events_in(store: Store) -> list[dict[str, object]]:
    return [entry.event for entry in store.catalog.journal.after(0, START)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store in which everything has happened once."""
    folder = tmp_path_factory.mktemp("everything")
    shutil.copytree(empty_store, folder / "store")
    bench = Bench(Store(folder / "store"), folder / "work")
    store = bench.store
    source = bench.files(a="1") / "a"
    register_file(store, source)
    bench.run("filter", {"dataset/documents@base": "d"}, ("source/a@external",))
    first = bench.run("train", {"model/policy@V1": "m"}, ("dataset/documents@base",))
    bench.run("train", {"model/policy@V1": "n"}, ("dataset/documents@base",))
    store.move_heads(first.run_id, {POLICY: bench.publish("m").version_id}, "taken up again")
    store.begin_run(record("lost"), [head.version_id for head in store.heads().values()])
    store.finish_run("lost", "crashed", "out of memory")
    store.set_override("V1", "train", "lr", 0.1)
    made_anew = bench.run("filter", {"dataset/documents@base": "d"}, ("source/a@external",))
    reads = RunInput("input-0", DOCUMENTS, bench.publish("d").version_id, made_anew.run_id)
    store.move_heads(first.run_id, {POLICY: bench.publish("m").version_id}, "taken up again", [reads])
    store.catalog.write(events.withdrawal_set("annotator", "anna", True, "she asked for it", {"some version": 3}))
    with pytest.raises(InputError):
        store.begin_run(record("lost"))
    return store.root


@pytest.fixture
def filled(tmp_path: Path, everything: Path) -> Store:
    """A copy of that store, to change at will."""
    shutil.copytree(everything, tmp_path / "filled")
    return Store(tmp_path / "filled")


@pytest.mark.slow
def test_a_rebuilt_catalog_is_the_same_row_for_row(filled: Store) -> None:
    before = contents(filled)
    assert all(before[name] for name in TABLES if name not in ("run_code", "metric", "estimate", "retired"))
    filled.rebuild()
    assert contents(filled) == before


@pytest.mark.parametrize("loss", ["missing", "damaged"])
def test_a_lost_catalog_comes_back_from_the_journal(filled: Store, loss: str) -> None:
    before = contents(filled)
    if loss == "missing":
        filled.catalog.file.unlink()
    else:
        filled.catalog.file.write_bytes(b"no database " * 5000)
    assert contents(filled) == before
    assert Store.open(filled.root).head(POLICY) == filled.head(POLICY)


@pytest.mark.parametrize("old", range(len(MIGRATIONS)))
def test_a_catalog_of_any_older_schema_is_brought_up_to_date_at_open(filled: Store, old: int) -> None:
    before = contents(filled)
    filled.catalog.file.unlink()
    build(filled.catalog.file, [], upto=old) if old else duckdb.connect(str(filled.catalog.file)).close()
    reopened = Store.open(filled.root)
    assert contents(reopened) == before
    numbers = reopened.catalog.read("SELECT n, sha256 FROM migration ORDER BY n")
    assert numbers == [(n, sha256) for n, _, sha256 in statements()]


def test_a_newer_schema_is_refused_and_left_alone(bench: Bench) -> None:
    file = bench.store.catalog.file
    with duckdb.connect(str(file)) as connection:
        connection.execute("INSERT INTO migration VALUES (99, 'x', now()::TIMESTAMP)")
    before = file.read_bytes()
    with pytest.raises(StoreError, match="a newer halter wrote it; upgrade halter"):
        Store.open(bench.store.root)
    assert file.read_bytes() == before


def test_a_newer_store_and_a_newer_event_are_refused(bench: Bench) -> None:
    event = {**events.override_set("V1", "train", "lr", "1"), "format": 99}
    with pytest.raises(StoreError, match="event format 99"):
        bench.store.catalog.write(event)
    (bench.store.root / MARKER).write_text('{"format": 99}')
    with pytest.raises(StoreError, match="store format 99"):
        Store.open(bench.store.root)


def test_a_folder_with_something_else_in_it_does_not_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds thesis.tex; give an empty folder"):
        Store.open(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        Store.open(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_creation_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "catalog.lock").touch()
    assert Store.open(tmp_path).heads() == {}


def test_two_openings_of_a_new_store_at_once_agree(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            Store.open(tmp_path / "new").set_override("V1", "s", threading.current_thread().name, 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Store.open(tmp_path / "new").overrides()) == 4


def test_the_chain_of_hashes_shows_any_change_to_the_past(filled: Store) -> None:
    segment = filled.catalog.journal.segments_there()[3]
    segment.write_bytes(segment.read_bytes().replace(b'"seed":', b'"seed":1'))
    with pytest.raises(StoreError, match=f"{segment.name}: line 1: the chain of hashes is broken"):
        filled.rebuild()


def test_texts_with_every_kind_of_line_break_survive_the_journal(bench: Bench) -> None:
    text = "a\nb\r\nc\u2028d\x85e\x0bf\u0000g 한국어"
    bench.store.set_override("V1", "train", "prompt", text)
    bench.store.rebuild()
    assert json.loads(bench.store.overrides()[0].value_json) == text


def test_a_leader_killed_before_its_commit_is_finished_by_the_next(bench: Bench) -> None:
    store = bench.store
    journal = store.catalog.journal
    waiting = journal.submit(events.override_set("V1", "train", "lr", "1"))
    event = json.loads(waiting.read_bytes())
    # What such a leader leaves: the event in the journal and in the spool, nothing in the catalog.
    journal.append([Entry.after(0, START, APPLIED, event)])
    store.set_override("V1", "train", "lr", 2)
    assert [e["value_json"] for e in events_in(store)] == ["1", "2"]
    assert [o.value_json for o in store.overrides()] == ["2"]
    assert list(journal.spool.glob("*.json")) == []


def test_a_reader_sees_what_a_killed_leader_acknowledged_and_never_committed(bench: Bench) -> None:
    store = bench.store
    first = Entry.after(0, START, APPLIED, events.override_set("V1", "train", "lr", "1"))
    second = Entry.after(1, first.sha256, APPLIED, events.override_set("V2", "train", "lr", "2"))
    segment = store.catalog.journal.append([first])
    store.catalog.journal.append([second], segment)
    assert [(o.part, o.value_json) for o in store.overrides()] == [("V1", "1"), ("V2", "2")]
    assert [path.name for path in store.catalog.journal.segments_there()] == [segment.name]


def test_a_line_and_an_event_that_a_power_failure_cut_off_were_never_acknowledged(bench: Bench) -> None:
    store, journal = bench.store, bench.store.catalog.journal
    store.set_override("V1", "train", "lr", 1)
    (segment,) = journal.segments_there()
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:60])
    waiting = journal.submit(events.override_set("V1", "train", "lr", "2"))
    waiting.write_bytes(waiting.read_bytes()[:40])
    store.set_override("V1", "train", "lr", 3)
    assert [e["value_json"] for e in events_in(store)] == ["1", "3"]
    assert not waiting.exists()
    store.rebuild()
    assert [o.value_json for o in store.overrides()] == ["3"]


def test_a_writer_killed_before_it_led_is_applied_by_the_next(bench: Bench) -> None:
    bench.store.catalog.journal.submit(events.override_set("V1", "train", "lr", "1"))
    assert bench.store.overrides() == []
    bench.store.set_override("V2", "train", "lr", 2)
    assert [(o.part, o.value_json) for o in bench.store.overrides()] == [("V1", "1"), ("V2", "2")]


def test_an_event_that_the_database_cannot_take_does_not_hold_up_the_others(bench: Bench) -> None:
    journal = bench.store.catalog.journal
    too_large = journal.submit(events.run_begun(RunRecord("s", "V1", "f", "1", {}, 2**80, run_id="huge"), []))
    journal.submit({"event_id": "odd", "format": 1, "kind": "nonsense"})
    bench.store.begin_run(record())
    assert [summary.run.run_id for summary in bench.store.runs()] == ["run-1"]
    assert not too_large.exists()
    outcomes = [entry.outcome for entry in journal.after(0, START)]
    assert outcomes[2] == "applied"
    assert "nonsense" in outcomes[1]
    bench.store.rebuild()
    assert len(bench.store.runs()) == 1


def test_what_is_no_json_is_refused_before_it_is_written(bench: Bench) -> None:
    with pytest.raises(InputError, match="plain JSON"):
        bench.store.begin_run(RunRecord("s", "V1", "f", "1", {"path": Path()}, 0))
    assert list(bench.store.catalog.journal.spool.glob("*.json")) == []


def test_a_lock_that_nobody_lets_go_of_ends_in_a_clear_error(bench: Bench) -> None:
    hasty = Catalog(bench.store.root, wait_seconds=0.05)
    with locked(hasty.lock, exclusive=True):
        with pytest.raises(StoreError, match="will be applied by the next writer"):
            hasty.write(events.override_set("V1", "train", "lr", "1"))
        with pytest.raises(StoreError, match=r"has held this lock for 0\.05 s"):
            hasty.read("SELECT 1")
    assert len(bench.store.overrides()) == 0
    bench.store.catalog.settle()
    assert len(bench.store.overrides()) == 1


def test_readers_do_not_exclude_each_other(bench: Bench) -> None:
    with bench.store.catalog.reading() as one, bench.store.catalog.reading() as other:
        assert one.execute("SELECT 1").fetchone() == other.execute("SELECT 1").fetchone()


def test_a_batch_may_be_larger_than_a_leaders_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "_BATCH", 2)
    for number in range(40):
        bench.store.catalog.journal.submit(events.override_set("V1", "s", f"k{number}", "1"))
    bench.store.set_override("V1", "s", "last", 1)
    assert len(bench.store.overrides()) == 41


def test_a_run_says_what_happened_to_it_and_only_once(bench: Bench) -> None:
    store = bench.store
    store.begin_run(record())
    (running,) = store.runs(state="running")
    assert (running.finished_at, running.seconds) == (None, None)
    with pytest.raises(InputError, match="has already begun"):
        store.begin_run(record())
    with pytest.raises(InputError, match="has not begun"):
        store.finish_run("nobody", "failed", "")
    store.finish_run("run-1", "crashed", "no heartbeat")
    publication = bench.publish("w")
    store.commit_run(record(), [], {"model": RunOutput(POLICY, publication)})  # it was alive after all
    with pytest.raises(InputError, match="has already succeeded"):
        store.finish_run("run-1", "failed", "")
    with pytest.raises(InputError, match="has already succeeded"):
        store.commit_run(record(), [], {"model": RunOutput(POLICY, publication)})
    (summary,) = store.runs(run_id="run-1")
    assert summary.state == "succeeded"
    assert len(store.history(POLICY)) == 1


def test_a_refused_commit_leaves_nothing_behind(bench: Bench) -> None:
    store = bench.store
    output = {"model": RunOutput(POLICY, bench.publish("w"))}
    known = bench.run("train", {"model/base@base": "b"})
    version = bench.publish("b").version_id
    base = AssetName.parse("model/base@base")
    cases = {
        "is not in the catalog": RunInput("base", base, "f" * 64, None),
        "run ghost did not write": RunInput("base", base, version, "ghost"),
    }
    for message, wrong in cases.items():
        with pytest.raises(InputError, match=message):
            store.commit_run(record(), [wrong], output)
    store.begin_run(record())
    with pytest.raises(InputError, match="began with fingerprint"):
        store.commit_run(RunRecord("train", "V1", "other", "1", {}, 0, run_id="run-1"), [], output)
    with pytest.raises(InputError, match="same asset"):
        store.commit_run(record(), [], {**output, "again": output["model"]})
    assert store.head(POLICY) is None
    assert store.find_finished("fingerprint") is None
    store.commit_run(record(), [RunInput("base", base, version, known.run_id)], output)
    assert store.find_finished("fingerprint") is not None


def test_a_commit_whose_object_is_gone_is_refused(bench: Bench) -> None:
    publication = bench.publish("w")
    bench.store.objects.remove(publication.objects[0].sha256)
    with pytest.raises(StoreError, match="missing"):
        bench.store.commit_run(record(), [], {"model": RunOutput(POLICY, publication)})
    assert bench.store.heads() == {}


def test_the_schemas_text_updates_and_deletes_nothing() -> None:
    text = " ".join(sql for _, sql, _ in statements()).upper()
    assert [
        word for word in ("UPDATE ", "DELETE ", "ALTER ", "DROP ", "CREATE INDEX", "REFERENCES") if word in text
    ] == []


def test_a_write_waits_for_a_reader_and_then_goes_on(bench: Bench) -> None:
    done: list[float] = []

    def write() -> None:
        bench.store.set_override("V1", "s", "k", 1)
        done.append(time.monotonic())

    writer = threading.Thread(target=write)
    with bench.store.catalog.reading():
        writer.start()
        time.sleep(0.2)
        released = time.monotonic()
    writer.join()
    assert done[0] > released
