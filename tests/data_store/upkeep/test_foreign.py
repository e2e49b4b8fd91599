"""Stores that a stranger made: nothing of them lands outside of the store, and what they say is what they hold."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.people import add_annotator, annotators
from data_store.catalog import events
from data_store.catalog.origins import AdoptedOrigin
from data_store.errors import InputError, StoreError
from data_store.incoming.adoption import adopted_from
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.backups import backup, restore
from data_store.upkeep.repairs import repair
from data_store.upkeep.transfer import import_store
from data_store.upkeep.verification import verify
from tasks.engine.alone import is_at_work
from tests.data_store.fixture_store import STORES, unpack
from tests.data_store.forged import forge, rehash, renamed_file, replace_everywhere
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
ROWS = AssetName.parse("dataset/documents@base")
REFUSED = (InputError, StoreError)


@pytest.fixture(scope="module")
def elsewhere(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a source, rows, and a model of one file, which tests copy."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(empty_store, folder / "there")
    bench = Bench(Store(folder / "there"), folder / "work")
    register_file(bench.store, bench.files(a="1") / "a")
    rows = bench.store.publish("dataset", bench.documents("one", "two"), row_kind="document")
    bench.run("filter", {str(ROWS): rows}, ("source/a@external",))
    bench.run("train", {str(POLICY): "weights"}, (str(ROWS),))
    return folder / "there"


@pytest.fixture
def there(tmp_path: Path, elsewhere: Path) -> Bench:
    """A store from elsewhere: a source, rows, and a model of one file."""
    shutil.copytree(elsewhere, tmp_path / "elsewhere" / "there")
    return Bench(Store(tmp_path / "elsewhere" / "there"), tmp_path / "there-work", made=5)


def outside(tmp_path: Path) -> list[str]:
    """What lies beside the stores, by name: the tests let harmless names aim there."""
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*beside*"))


def take_all(bench: Bench, root: Path, tmp_path: Path) -> list[BaseException]:
    """Import the store and restore it, and use what came of it as steps do; gives the refusals."""
    refusals: list[BaseException] = []
    for take in (
        lambda: import_store(bench.store, root),
        lambda: restore(root, tmp_path / "restored", lambda _: None),
    ):
        try:
            take()
        except REFUSED as error:
            refusals.append(error)
    for store in (bench.store, Store(tmp_path / "restored")):
        if (store.root / "catalog.duckdb").exists():
            for head in store.heads().values():
                with suppress(*REFUSED):
                    store.checkout(head.version_id)
    return refusals


def of_kind(kind: str, change: Callable[[dict[str, Any]], None], *, step: str = "train") -> Callable[..., None]:
    """A change of the events of one kind, of the runs of one step."""

    def changed(event: dict[str, Any]) -> None:
        if event["kind"] == kind and event.get("run", {}).get("step", step) == step:
            change(event)

    return changed


@pytest.mark.parametrize("path", ["../../../beside.txt", "{tmp}/beside.txt"])
def test_a_file_cannot_lie_outside_of_its_version(there: Bench, bench: Bench, tmp_path: Path, path: str) -> None:
    forge(there.store.root, of_kind("run_succeeded", renamed_file(path.format(tmp=tmp_path))))
    refusals = take_all(bench, there.store.root, tmp_path)
    assert [str(each).count("run_succeeded.outputs.0.publication.objects.0.path") for each in refusals] == [1, 1]
    assert outside(tmp_path) == []
    assert bench.store.heads() == {}
    assert not (tmp_path / "restored").exists()


def test_a_version_that_is_in_the_catalog_already_is_not_laid_out_outside_either(bench: Bench, tmp_path: Path) -> None:
    """A store that was put into its place by hand never came through an import."""
    bench.run("train", {str(POLICY): "weights"})
    forge(bench.store.root, of_kind("run_succeeded", renamed_file("../../../beside.txt")))
    store = Store.open(bench.store.root)
    with pytest.raises(StoreError, match="would lie outside of it"):
        store.checkout(store.heads()[POLICY].version_id)
    assert outside(tmp_path) == []


def test_an_id_that_leads_out_of_the_store_is_refused_on_every_way_in(
    there: Bench, bench: Bench, tmp_path: Path
) -> None:
    version = there.store.heads()[POLICY].version_id

    def change(event: dict[str, Any]) -> None:
        event.update(replace_everywhere(event, version, "../../../beside"))

    forge(there.store.root, change)
    assert len(take_all(bench, there.store.root, tmp_path)) == 2
    assert outside(tmp_path) == []
    assert bench.store.heads() == {}


def test_a_fingerprint_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "beside.lock").touch()
    with pytest.raises(StoreError, match="cannot be the name of a file"):
        is_at_work(bench.store, "../../beside")


def test_a_run_that_a_source_names_is_a_folder_beside_this_one(bench: Bench) -> None:
    """Also in a store that was put into its place by hand, by the words of today and by the sentence of before."""
    version = bench.publish("w")
    bench.run("train", {"model/a@V1": version})
    asset, like = AssetName("source", "taken", "external"), AdoptedOrigin("x", "model/policy@V1", "0" * 64, "y")
    for run in ("../evil", "/evil", ".", "..", "", "a\nb", "other"):
        event = events.source_registered(asset, version, like)
        event["origin"]["run"] = run
        bench.store.catalog.write(event)
        sentence = f"run {run}-before: model/policy@V1 version {'0' * 64}, made by its run x"
        older = events.source_registered(asset, version, like) | {"location": sentence}
        del older["origin"]
        bench.store.catalog.write(older)
    assert list(adopted_from(bench.store)) == ["-before", "other", "other-before"]


ADOPTED = asdict(AdoptedOrigin("big", "dataset/picks@V1", "0" * 64, "r1"))


def come_from(facts: dict[str, Any]) -> Callable[..., None]:
    """A change of what the events say of where a source came from."""
    return of_kind("source_registered", lambda event: event.update(origin=facts))


def test_a_source_of_a_run_that_is_no_folder_beside_is_refused_on_every_way_in(
    there: Bench, bench: Bench, tmp_path: Path
) -> None:
    forge(there.store.root, come_from(ADOPTED | {"run": "../beside"}))
    refusals = take_all(bench, there.store.root, tmp_path)
    assert ["source_registered.origin: adopted.run: " in str(each) for each in refusals] == [True, True]
    assert bench.store.heads() == {}
    assert not (tmp_path / "restored").exists()


@pytest.mark.slow
def test_a_backup_lends_no_odd_origin_to_a_repair(there: Bench, tmp_path: Path) -> None:
    store = there.store
    last = register_file(store, there.files(b="2") / "b")
    backup(store, tmp_path / "backup")
    store.catalog.journal.segments_there()[-1].unlink()
    (store.root / "catalog.duckdb").unlink()

    def last_from(facts: dict[str, Any]) -> None:
        change = come_from(facts)
        forge(tmp_path / "backup", lambda event: change(event) if event.get("asset") == str(last.asset) else None)

    last_from(ADOPTED | {"run": "../beside"})
    (note,) = repair(store, tmp_path / "backup").notes
    assert "source_registered.origin: adopted.run: '../beside' is no name of a run beside this one" in note
    assert store.head(last.asset) is None
    # what its kind does not have may be of a later halter: it is let be, and read by nobody
    last_from({"kind": "file", "path": "/b", "run": "../beside"})
    repair(store, tmp_path / "backup")
    assert store.catalog.read("SELECT kind, path, run FROM origin ORDER BY seq")[1:] == [("file", "/b", None)]
    assert adopted_from(store) == {}


def test_a_version_is_what_its_id_says(there: Bench, bench: Bench, tmp_path: Path) -> None:
    """Other weights under the id of the known ones: ids are computed again, so the swap is seen."""
    other = there.publish("other weights").objects[0]

    def swap(event: dict[str, Any]) -> None:
        (output,) = event["outputs"]
        output["publication"]["objects"][0].update(sha256=other.sha256, bytes=other.bytes)
        output["publication"]["bytes"] = other.bytes

    forge(there.store.root, of_kind("run_succeeded", swap))
    for refusal in take_all(bench, there.store.root, tmp_path):
        assert "its set hash is not the hash of what it holds" in str(refusal)
    assert bench.store.heads() == {}

    def claim(event: dict[str, Any]) -> None:
        (output,) = event["outputs"]
        old = output["publication"]["version_id"]
        rehash(output["publication"])
        output["publication"]["version_id"] = old

    forge(there.store.root, of_kind("run_succeeded", claim))
    for refusal in take_all(bench, there.store.root, tmp_path):
        assert "its version id is not the hash of what it holds" in str(refusal)
    assert bench.store.heads() == {}


def test_rows_are_hashed_again(there: Bench, bench: Bench, tmp_path: Path) -> None:
    """A segment whose column of hashes is the known one, over another text."""
    version = there.store.version(there.store.heads()[ROWS].version_id)
    (segment,) = (ref for ref in version.objects if ref.role == "segment")
    table = pq.read_table(there.store.objects.path(segment.sha256))
    changed = table.set_column(
        table.schema.get_field_index("text"), table.schema.field("text"), pa.array(["one", "not two"])
    )
    pq.write_table(changed, tmp_path / "changed.parquet")
    sha256, size, _ = there.store.objects.put_file(tmp_path / "changed.parquet")

    def swap(event: dict[str, Any]) -> None:
        (output,) = event["outputs"]
        for each in output["publication"]["objects"]:
            if each["role"] == "segment":
                each.update(path=f"segments/{sha256}", sha256=sha256, bytes=size)
        output["publication"]["bytes"] = sum(each["bytes"] for each in output["publication"]["objects"])

    forge(there.store.root, of_kind("run_succeeded", swap, step="filter"))
    refusals = take_all(bench, there.store.root, tmp_path)
    assert ["hashes to something else than it says" in str(each) for each in refusals] == [True, True]
    assert bench.store.heads() == {}


@pytest.mark.parametrize(
    "link",
    ["objects", "objects/fan", "object", "journal", "segment", "halter-store.json", "annotation.sqlite", "gc.lock"],
)
def test_no_link_inside_is_followed(there: Bench, bench: Bench, tmp_path: Path, link: str) -> None:
    root = there.store.root
    Book.open(root).close()
    ref = there.store.version(there.store.heads()[POLICY].version_id).objects[0]
    place = {
        "objects/fan": there.store.objects.path(ref.sha256).parent,
        "object": there.store.objects.path(ref.sha256),
        "segment": next((root / "journal").iterdir()),
    }.get(link, root / link)
    secret = tmp_path / "secret"
    place.rename(secret)
    place.symlink_to(secret)
    before = {path: path.stat().st_mtime_ns for path in (secret, *secret.rglob("*"))}
    refusals = take_all(bench, root, tmp_path)
    assert len(refusals) == (1 if link == "annotation.sqlite" else 2 if link != "gc.lock" else 1)
    assert {path: path.stat().st_mtime_ns for path in (secret, *secret.rglob("*"))} == before


def test_nothing_is_deleted_where_its_folder_of_drafts_leads(there: Bench, bench: Bench, tmp_path: Path) -> None:
    """Stores remove what is old in `tmp`; in this one it is a link to somebody's letters."""
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "old").write_text("dear")
    os.utime(letters / "old", (0, 0))
    shutil.rmtree(there.store.root / "tmp")
    (there.store.root / "tmp").symlink_to(letters)
    import_store(bench.store, there.store.root)
    assert (letters / "old").read_text() == "dear"
    assert bench.store.heads().keys() == there.store.heads().keys()


def test_its_catalog_is_never_opened_and_nothing_there_is_written(there: Bench, bench: Bench, tmp_path: Path) -> None:
    heads = there.store.heads()
    (there.store.root / "catalog.duckdb").write_text("no database at all")
    before = {path: path.stat().st_mtime_ns for path in there.store.root.rglob("*")}
    import_store(bench.store, there.store.root)
    restore(there.store.root, tmp_path / "restored", lambda _: None)
    assert {path: path.stat().st_mtime_ns for path in there.store.root.rglob("*")} == before
    assert {a: h.version_id for a, h in bench.store.heads().items()} == {a: h.version_id for a, h in heads.items()}
    assert Store(tmp_path / "restored").heads() == heads


def test_a_view_in_a_catalog_reads_no_other_file(bench: Bench, tmp_path: Path) -> None:
    """Whatever way a catalog's file came into its place."""
    secret = tmp_path / "secret.csv"
    secret.write_text("name\nanna\n")
    with duckdb.connect(str(bench.store.root / "catalog.duckdb")) as connection:
        connection.execute(f"CREATE OR REPLACE VIEW current_override AS SELECT * FROM read_csv('{secret}')")
    with pytest.raises(duckdb.Error, match="disabled by configuration"):
        bench.store.catalog.read("SELECT * FROM current_override")


@pytest.mark.parametrize("file", ["object", "segment", "halter-store.json"])
def test_sizes_are_bounded(there: Bench, bench: Bench, tmp_path: Path, file: str) -> None:
    """A file of a terabyte, nearly all of it a hole, is not read."""
    ref = there.store.version(there.store.heads()[POLICY].version_id).objects[0]
    place = {
        "object": there.store.objects.path(ref.sha256),
        "segment": next((there.store.root / "journal").iterdir()),
    }.get(file, there.store.root / file)
    place.chmod(0o644)
    os.truncate(place, 1 << 40)
    refusals = take_all(bench, there.store.root, tmp_path)
    assert len(refusals) == 2
    assert all("1,099,511,627,776 bytes" in str(each) or "larger than" in str(each) for each in refusals)
    assert bench.store.heads() == {}


def test_what_the_disk_cannot_hold_is_refused_before_it_is_copied(there: Bench, bench: Bench, tmp_path: Path) -> None:
    def grow(event: dict[str, Any]) -> None:
        (output,) = event["outputs"]
        output["publication"]["objects"][0]["bytes"] = output["publication"]["bytes"] = 1 << 60

    forge(there.store.root, of_kind("run_succeeded", grow))
    refusals = take_all(bench, there.store.root, tmp_path)
    assert ["make room first" in str(each) for each in refusals] == [True, True]


def test_a_pipe_keeps_nobody_waiting(there: Bench, bench: Bench, tmp_path: Path) -> None:
    ref = there.store.version(there.store.heads()[POLICY].version_id).objects[0]
    there.store.objects.path(ref.sha256).unlink()
    os.mkfifo(there.store.objects.path(ref.sha256))
    refusals = take_all(bench, there.store.root, tmp_path)
    assert ["is no plain file" in str(each) for each in refusals] == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event["inputs"][0].update(version_id="0" * 64) if event.get("inputs") else None,
        lambda event: event.pop("format"),
        lambda event: event["run"].update(run_id="the-same") if "run" in event else None,
    ],
)
def test_a_journal_that_contradicts_itself_is_refused(
    there: Bench, bench: Bench, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    forge(there.store.root, change)
    assert len(take_all(bench, there.store.root, tmp_path)) == 2
    assert bench.store.heads() == {}


def test_a_journal_of_endless_brackets_is_refused(there: Bench, bench: Bench, tmp_path: Path) -> None:
    segment = max((there.store.root / "journal").iterdir())
    segment.write_text("[" * 200_000 + "\n")
    assert len(take_all(bench, there.store.root, tmp_path)) == 2


def test_a_run_of_the_same_id_must_be_the_same(there: Bench, bench: Bench) -> None:
    import_store(bench.store, there.store.root)
    forge(there.store.root, of_kind("run_succeeded", lambda event: event["run"].update(seed=99)))
    with pytest.raises(InputError, match="is another one here than there"):
        import_store(bench.store, there.store.root)


def test_a_backup_lends_neither_links_nor_odd_names_to_a_repair(bench: Bench, tmp_path: Path) -> None:
    bench.run("train", {str(POLICY): "weights"})
    backup(bench.store, tmp_path / "backup")
    (tmp_path / "backup" / "journal" / "beside.jsonl").touch()
    segment = next((bench.store.root / "journal").iterdir())
    segment.rename(tmp_path / "segment")
    with pytest.raises(StoreError, match=r"beside\.jsonl is no name of a segment"):
        repair(bench.store, tmp_path / "backup")
    (tmp_path / "segment").rename(segment)
    (tmp_path / "backup" / "journal" / "beside.jsonl").unlink()
    ref = bench.store.version(bench.store.heads()[POLICY].version_id).objects[0]
    there = Store(tmp_path / "backup").objects.path(ref.sha256)
    there.rename(tmp_path / "weights")
    there.symlink_to(tmp_path / "weights")
    bench.store.objects.path(ref.sha256).unlink()
    done = repair(bench.store, tmp_path / "backup")
    assert done.restored == ()
    assert len(done.left.damages) == 1
    there.unlink()
    (tmp_path / "weights").rename(there)
    assert repair(bench.store, tmp_path / "backup").left.problems == ()


def test_a_backup_is_not_written_through_a_link(bench: Bench, tmp_path: Path) -> None:
    bench.run("train", {str(POLICY): "weights"})
    backup(bench.store, tmp_path / "backup")
    (tmp_path / "home").mkdir()
    shutil.rmtree(tmp_path / "backup" / "objects")
    (tmp_path / "backup" / "objects").symlink_to(tmp_path / "home")
    with pytest.raises(InputError, match="is a link"):
        backup(bench.store, tmp_path / "backup")
    assert list((tmp_path / "home").iterdir()) == []


def test_a_book_comes_with_its_people_and_without_foreign_triggers(bench: Bench, tmp_path: Path) -> None:
    book = Book.open(bench.store.root)
    add_annotator(book, "anna", adjudicator=False)
    book.close()
    backup(bench.store, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again", lambda _: None)
    again = Book.open(tmp_path / "again")
    assert [each.name for each in annotators(again)] == ["anna"]
    again.close()
    with sqlite3.connect(tmp_path / "backup" / BOOK_FILE) as connection:
        connection.execute("CREATE TRIGGER beside AFTER INSERT ON answer BEGIN DELETE FROM lease; END")
    connection.close()
    with pytest.raises(StoreError, match="another schema than halter gives it"):
        restore(tmp_path / "backup", tmp_path / "third", lambda _: None)
    (tmp_path / "backup" / BOOK_FILE).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(StoreError, match="cannot be copied: file is not a database"):
        restore(tmp_path / "backup", tmp_path / "third", lambda _: None)
    assert not (tmp_path / "third").exists()


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(STORES.glob("*.tar.gz")), ids=lambda file: file.name)
def test_an_honest_store_of_an_earlier_halter_comes_whole(file: Path, bench: Bench, tmp_path: Path) -> None:
    root, _ = unpack(file, tmp_path / "elsewhere")
    restore(root, tmp_path / "restored", lambda _: None)
    assert import_store(bench.store, root).heads == len(Store(tmp_path / "restored").heads())
    assert verify(bench.store).problems == ()


def test_a_collector_there_that_never_ends_is_not_waited_for_for_ever(there: Bench, bench: Bench) -> None:
    with (there.store.root / "gc.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="somebody holds this lock"):
            import_store(Store(bench.store.root, wait_seconds=0.2), there.store.root)
