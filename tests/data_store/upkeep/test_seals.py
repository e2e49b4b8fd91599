"""A backup that was cut short, or that has lost something since it was made."""

import json
import shutil
from pathlib import Path

import pytest

from data_store.catalog import journal
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep import backups
from data_store.upkeep.backups import backup, restore, verify_backup
from data_store.upkeep.repairs import repair
from data_store.upkeep.seals import SEAL_FILE, UNFINISHED_FILE, notes_of, read_seal, was_cut_short
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")


def five_runs(bench: Bench) -> None:
    for number in range(5):
        bench.run("train", {"model/policy@V1": f"weights {number}"})


@pytest.fixture(scope="module")
def backed_up(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of five runs and its backup, which tests copy."""
    folder = tmp_path_factory.mktemp("backed-up")
    shutil.copytree(empty_store, folder / "store")
    made = Bench(Store(folder / "store"), folder / "work")
    five_runs(made)
    assert backup(made.store, folder / "backup").problems == ()
    return folder


@pytest.fixture
def copy(bench: Bench, backed_up: Path, tmp_path: Path) -> Path:
    """A backup of five events and as many objects, each event in a segment of its own; `bench` has what was copied."""
    shutil.rmtree(bench.store.root)
    shutil.copytree(backed_up / "store", bench.store.root)
    bench.made = 10
    shutil.copytree(backed_up / "backup", tmp_path / "backup")
    return tmp_path / "backup"


def restored(copy: Path, tmp_path: Path) -> Store:
    restore(copy, tmp_path / "again", lambda _draft: None)
    return Store.open(tmp_path / "again")


def test_a_backup_is_sealed_with_the_head_of_its_journal_and_its_counts(bench: Bench, copy: Path) -> None:
    seal = read_seal(copy)
    assert seal is not None
    assert (seal.sequence, seal.objects, seal.bytes, seal.lacking) == (5, 5, 5 * len("weights 0"), 0)
    assert (5, seal.sha256) in bench.store.catalog.read("SELECT seq, sha256 FROM applied_event")
    assert (notes_of(copy), was_cut_short(copy)) == ([], False)
    found = verify_backup(copy)
    assert (found.n_events, found.n_objects, found.problems) == (5, 5, ())


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_backup_without_its_last_segments_is_not_taken_for_whole(copy: Path, tmp_path: Path, lost: int) -> None:
    for segment in sorted((copy / "journal").iterdir())[-lost:]:
        segment.unlink()
    shutil.rmtree(copy / "catalog.duckdb", ignore_errors=True)
    told = rf"ends with event {5 - lost}, .* with event 5; .* {6 - lost:012d}\.jsonl on are missing, {lost} events"
    with pytest.raises(StoreError, match=told):
        restore(copy, tmp_path / "again", lambda _draft: None)
    assert not (tmp_path / "again").exists()
    (problem,) = verify_backup(copy).problems
    assert f"{lost} events" in problem


def test_a_backup_whose_middle_or_objects_are_lost_is_not_restored(copy: Path, tmp_path: Path) -> None:
    segment = sorted((copy / "journal").iterdir())[2]
    content = segment.read_bytes()
    segment.unlink()
    with pytest.raises(StoreError, match=f"{segment.name} is missing"):
        restore(copy, tmp_path / "again", lambda _draft: None)
    assert segment.name in verify_backup(copy).problems[0]
    segment.write_bytes(content)
    place = next(path for path in (copy / "objects").rglob("*") if path.is_file())
    place.unlink()
    with pytest.raises(StoreError, match=r"model/policy@V1 .* is missing"):
        restore(copy, tmp_path / "again", lambda _draft: None)
    assert [damage.fault for damage in verify_backup(copy).damages] == ["missing"]


def test_another_history_of_the_same_length_is_not_taken_for_the_sealed_one(
    copy: Path, tmp_path: Path, empty_store: Path
) -> None:
    shutil.copytree(empty_store, tmp_path / "other")
    other = Bench(Store(tmp_path / "other"), tmp_path / "other-work")
    five_runs(other)
    backup(other.store, tmp_path / "other-backup")
    shutil.rmtree(copy / "journal")
    shutil.copytree(tmp_path / "other-backup" / "journal", copy / "journal")
    with pytest.raises(StoreError, match="event 5 of its journal is another than the one that was sealed"):
        restore(copy, tmp_path / "again", lambda _draft: None)


def test_a_backup_that_was_cut_short_is_known_by_it_and_finished_by_the_next(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    copy = tmp_path / "backup"
    with monkeypatch.context() as patch:
        patch.setattr(backups, "take_book", None)  # after the objects and the journal, before the end
        with pytest.raises(TypeError):
            backup(bench.store, copy)
    with pytest.raises(StoreError, match=r"is no whole backup: it was cut short; finish it by `halter backup "):
        restore(copy, tmp_path / "again", lambda _draft: None)
    assert "cut short" in verify_backup(copy).problems[0]
    backup(bench.store, copy)
    assert verify_backup(copy).problems == ()
    assert restored(copy, tmp_path).heads() == bench.store.heads()


def test_where_a_later_backup_was_cut_short_the_earlier_one_is_whole(
    bench: Bench, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = bench.store.head(POLICY)
    assert head is not None
    bench.run("train", {"model/policy@V1": "later"})
    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_durably", None)  # the new object is there, the new segment is not
        with pytest.raises(TypeError):
            backup(bench.store, copy)
    (note,) = notes_of(copy)
    assert "was cut short: the one before" in note
    assert "with event 5, is whole" in note
    assert restored(copy, tmp_path).head(POLICY) == head


def test_a_backup_of_an_earlier_halter_is_restored_and_what_is_not_known_is_said(copy: Path, tmp_path: Path) -> None:
    (copy / SEAL_FILE).unlink()
    (note,) = notes_of(copy)
    assert "what it holds is verified; whether it holds all that was backed up is not known" in note
    assert verify_backup(copy).problems == ()
    assert len(restored(copy, tmp_path).runs()) == 5


@pytest.mark.parametrize("content", ["", "{}", '{"seal": "x"}', "[]", "no json", "change"])
def test_a_damaged_seal_is_said_and_nothing_is_restored(copy: Path, tmp_path: Path, content: str) -> None:
    path = copy / SEAL_FILE
    if content == "change":
        content = json.dumps({**json.loads(path.read_text()), "sequence": 4})
    path.write_text(content)
    with pytest.raises(StoreError, match=r"backup\.json is damaged"):
        restore(copy, tmp_path / "again", lambda _draft: None)
    assert "is damaged" in verify_backup(copy).problems[0]


def test_checking_a_backup_writes_nothing_to_it(copy: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    verify_backup(copy)
    notes_of(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == stamps
    assert not (copy / UNFINISHED_FILE).exists()


@pytest.mark.parametrize("lost", [[4], [3, 4], [2], [1, 3]], ids=str)
def test_repair_takes_from_a_backup_what_the_journal_lost_together_with_the_catalog(
    bench: Bench, copy: Path, lost: list[int]
) -> None:
    """The end, which nothing in the store knows of any more, and the middle, without which nothing opens."""
    before = bench.store.heads()
    segments = bench.store.catalog.journal.segments_there()
    bench.store.catalog.file.unlink()
    for number in lost:
        segments[number].unlink()
    done = repair(bench.store, copy)
    assert done.restored == tuple(f"journal segment {segments[number].name}" for number in lost)
    assert (done.left.problems, done.notes) == ((), ())
    assert bench.store.heads() == before
    assert verify(bench.store).n_events == 5


def test_repair_refuses_a_backup_of_another_history(bench: Bench, copy: Path) -> None:
    bench.store.catalog.file.unlink()
    bench.store.catalog.journal.segments_there()[-1].unlink()
    bench.run("train", {"model/policy@V1": "something else"})
    with pytest.raises(InputError, match=r"they have gone apart since: event 5 there is another than here"):
        repair(bench.store, copy)


def test_repair_says_what_a_backup_lacks_and_takes_what_it_has(bench: Bench, copy: Path) -> None:
    (copy / "journal" / bench.store.catalog.journal.segments_there()[-1].name).unlink()
    head = bench.store.head(POLICY)
    assert head is not None
    place = bench.store.objects.path(bench.store.version(head.version_id).objects[0].sha256)
    place.unlink()
    done = repair(bench.store, copy)
    assert "has lost the end of its journal" in done.notes[0]
    assert done.left.problems == ()


def test_a_backup_whose_object_lost_bytes_gets_it_again(bench: Bench, copy: Path) -> None:
    place = next(path for path in (copy / "objects").rglob("*") if path.is_file())
    place.chmod(0o644)
    place.write_bytes(b"weigh")
    assert [damage.fault for damage in verify_backup(copy, deep=False).damages] == ["damaged"]
    backup(bench.store, copy)
    assert verify_backup(copy).problems == ()
