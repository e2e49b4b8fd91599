import os
from pathlib import Path

import pytest

from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import RunRecord
from data_store.store import Store
from data_store.upkeep.backups import backup
from data_store.upkeep.repairs import repair
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
NOTHING_OLD = Retention(keep_versions=0, keep_days=0)


def age(bench: Bench) -> None:
    """Make every object look a week old."""
    for sha256, held in bench.store.objects.all():
        os.utime(bench.store.objects.path(sha256), (held.modified - 7 * 86400,) * 2)


def names(bench: Bench, **options: bool) -> list[str]:
    return [item.what.split(" ")[0] for item in collect(bench.store, **options).garbage if item.sha256]


def superseded(bench: Bench) -> str:
    """Two policies in turn, the first made from data that the second does not need; gives the first one's version."""
    bench.run("collect", {"dataset/old@V1": "old data"})
    bench.run("collect", {"dataset/new@V1": "new data"})
    bench.run("train", {"model/policy@V1": "first"}, ("dataset/old@V1",), fingerprint="f1")
    head = bench.store.head(POLICY)
    assert head is not None
    bench.run("train", {"model/policy@V1": "second"}, ("dataset/new@V1",))
    return head.version_id


def test_a_sound_store_verifies(bench: Bench) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    found = verify(bench.store)
    assert (found.n_events, found.n_objects, found.bytes, found.problems) == (1, 1, 7, ())


@pytest.mark.parametrize(("deep", "text"), [(True, "weightz"), (False, "weight")])
def test_damage_is_found_and_named_by_asset(bench: Bench, deep: bool, text: str) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    path = bench.store.objects.path(bench.publish("weights").objects[0].sha256)
    path.chmod(0o644)
    path.write_text(text)
    (problem,) = verify(bench.store, deep=deep).problems
    assert problem.startswith("model/policy@V1 ")
    assert "is damaged" in problem
    path.unlink()
    assert "is missing" in verify(bench.store, deep=deep).problems[0]


def test_a_journal_that_was_changed_or_cut_is_found(bench: Bench) -> None:
    for n in range(3):
        bench.store.set_override("V1", "s", "k", n)
    segments = bench.store.catalog.journal.segments_there()
    segments[2].unlink()
    assert "the journal has lost segments" in verify(bench.store).problems[0]
    segments[1].write_bytes(segments[1].read_bytes().replace(b"override_set", b"override_sat"))
    assert "the chain of hashes is broken" in verify(bench.store).problems[0]


@pytest.mark.conformance("checkpoints fill the disk", equation="data_store.upkeep.upkeep:collect")
def test_only_old_objects_of_no_version_are_garbage(bench: Bench) -> None:
    bench.run("train", {"model/policy@V1": "kept"})
    bench.publish("old orphan")
    age(bench)
    bench.publish("young orphan")
    assert names(bench) == ["published,"]
    assert collect(bench.store).bytes == len("old orphan")
    done = collect(bench.store, dry_run=False)
    assert (done.dry_run, done.bytes) == (False, len("old orphan"))
    assert names(bench) == []
    assert len(list(bench.store.objects.all())) == 2


def test_publishing_again_what_is_about_to_go_saves_it(bench: Bench) -> None:
    bench.publish("orphan")
    age(bench)
    publication = bench.publish("orphan")
    collect(bench.store, dry_run=False)
    bench.run("train", {"model/policy@V1": publication})
    assert verify(bench.store).problems == ()


def test_a_dry_run_removes_nothing_and_names_what_would_go(bench: Bench) -> None:
    superseded(bench)
    before = list(bench.store.objects.all())
    plan = collect(bench.store, retention=NOTHING_OLD)
    assert [item.what.split(" ")[0] for item in plan.garbage] == ["model/policy@V1"]
    assert list(bench.store.objects.all()) == before
    assert bench.store.find_finished("f1") is not None


@pytest.mark.slow
@pytest.mark.conformance("checkpoints fill the disk", equation="data_store.upkeep.upkeep:collect")
def test_superseded_content_goes_and_what_made_a_head_stays(bench: Bench) -> None:
    version = superseded(bench)
    bench.store.checkout(version)
    assert names(bench) == []  # never without being asked
    collect(bench.store, dry_run=False, retention=NOTHING_OLD)
    with pytest.raises(StoreError, match="missing"):
        bench.store.checkout(version)
    assert bench.store.find_finished("f1") is None  # it would be done again, not taken for done
    assert verify(bench.store).problems == ()
    assert [asset.name for asset in bench.store.heads()] == ["new", "old", "policy"]
    assert len(bench.store.history(POLICY)) == 2
    assert [run.step for run in (s.run for s in bench.store.lineage(version).runs.values())] == ["train", "collect"]


@pytest.mark.slow
def test_retired_content_that_is_made_again_is_there_again(bench: Bench) -> None:
    version = superseded(bench)
    collect(bench.store, dry_run=False, retention=NOTHING_OLD)
    bench.run("train", {"model/policy@V1": "first"}, ("dataset/old@V1",), fingerprint="f1")
    assert (bench.store.checkout(version) / "weights").read_text() == "first"
    assert bench.store.find_finished("f1") is not None
    assert verify(bench.store).n_objects == 4


@pytest.mark.conformance("checkpoints fill the disk", equation="data_store.upkeep.upkeep:collect")
def test_a_segment_that_a_kept_version_shares_stays(bench: Bench) -> None:
    asset = "dataset/documents@V1"
    first = bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")
    bench.run("filter", {asset: first})
    second = bench.store.publish("dataset", bench.documents("b"), row_kind="document", parent=first.version_id)
    bench.run("filter", {asset: second})
    collect(bench.store, dry_run=False, retention=NOTHING_OLD)
    assert bench.store.rows(second.version_id).column("text").to_pylist() == ["b"]


def test_checkouts_long_unused_are_evicted(bench: Bench) -> None:
    bench.run("train", {"model/policy@V1": "w"})
    head = bench.store.head(POLICY)
    assert head is not None
    folder = bench.store.checkout(head.version_id)
    collect(bench.store, dry_run=False)
    assert folder.exists()
    os.utime(folder, (0, 0))
    assert [item.what for item in collect(bench.store, dry_run=False).garbage] == [f"checkout of {head.version_id}"]
    assert not folder.exists()


@pytest.mark.slow
def test_a_backup_opens_as_a_store_and_grows_by_what_is_new(bench: Bench, tmp_path: Path) -> None:
    bench.run("train", {"model/policy@V1": "first"})
    target = tmp_path / "backup"
    assert backup(bench.store, target).files == 2  # an object and a segment of the journal
    bench.run("train", {"model/policy@V1": "second"})
    assert backup(bench.store, target).files == 2
    assert backup(bench.store, target).files == 0
    copy = Store.open(target)
    assert copy.heads() == bench.store.heads()
    assert verify(copy).problems == ()


def test_a_backup_goes_neither_into_the_store_nor_over_another(bench: Bench, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    other.set_override("V1", "s", "k", 1)
    with pytest.raises(InputError, match="not an earlier backup"):
        backup(bench.store, other.root)
    with pytest.raises(InputError, match="inside the store"):
        backup(bench.store, bench.store.root / "objects")


def test_leftovers_of_killed_processes_are_removed_once_they_are_old(bench: Bench) -> None:
    old, young = bench.store.root / "tmp" / "a.checkout", bench.store.root / "tmp" / "b.tmp"
    (old / "sub").mkdir(parents=True)
    (old / "sub" / "file").touch()
    (old / "sub").chmod(0o555)
    os.utime(old, (0, 0))
    young.touch()
    Store.open(bench.store.root)
    assert not old.exists()
    assert young.exists()


def three_policies(bench: Bench) -> list[str]:
    """Three policies in turn; gives their versions, oldest first."""
    for text in ("one", "two", "three"):
        bench.run("train", {"model/policy@V1": text})
    return [head.version_id for head in reversed(bench.store.history(POLICY))]


def test_a_superseded_version_stays_while_count_or_age_says_so(bench: Bench) -> None:
    first, second, _ = three_policies(bench)
    for versions, days, leaving in ((0, 0, [first, second]), (1, 0, [first]), (2, 0, []), (0, 1, [])):
        plan = collect(bench.store, retention=Retention(keep_versions=versions, keep_days=days))
        assert plan.retired == tuple(sorted(leaving)), (versions, days)


@pytest.mark.conformance("checkpoints fill the disk", equation="data_store.upkeep.upkeep:collect")
def test_what_a_begun_run_reads_stays_with_its_folder_while_it_is_at_work(bench: Bench) -> None:
    first, second, _ = three_policies(bench)
    bench.store.begin_run(RunRecord("evaluate", "V1", "at work", "1", {}, 0), [first])
    bench.store.begin_run(RunRecord("evaluate", "V1", "died", "1", {}, 0), [second])
    for version in (first, second):
        os.utime(bench.store.checkout(version), (0, 0))
    done = collect(
        bench.store, dry_run=False, retention=NOTHING_OLD, is_at_work=lambda fingerprint: fingerprint == "at work"
    )
    assert done.retired == (second,)
    assert (bench.store.checkouts.path(first) / "weights").read_text() == "one"
    assert not bench.store.checkouts.path(second).exists()


def test_a_run_cannot_begin_on_what_was_just_removed(bench: Bench) -> None:
    first, *_ = three_policies(bench)
    collect(bench.store, dry_run=False, retention=NOTHING_OLD)
    with pytest.raises(InputError, match="was removed meanwhile; start it again"):
        bench.store.begin_run(RunRecord("evaluate", "V1", "f", "1", {}, 0), [first])


def set_aside(bench: Bench) -> tuple[str, Path]:
    """A version whose object was damaged and set aside by a repair, and the place of that object."""
    bench.run("train", {"model/policy@V1": "words of anna"})
    version = bench.store.version(bench.store.heads()[POLICY].version_id)
    path = bench.store.objects.path(version.objects[0].sha256)
    path.chmod(0o644)
    path.write_text("words of annA")
    assert repair(bench.store).set_aside
    return version.version_id, bench.store.root / "damaged" / version.objects[0].sha256


def test_what_was_set_aside_as_damaged_is_listed_by_name_and_collected(bench: Bench) -> None:
    _, aside = set_aside(bench)
    (bench.store.root / "damaged-0.duckdb").write_text("an old catalog")
    listed = [item for item in collect(bench.store).garbage if "set aside" in item.why]
    assert [(item.what.split()[0], item.bytes) for item in listed] == [
        ("model/policy@V1", 13),
        ("damaged-0.duckdb", 14),
    ]
    assert aside.read_text() == "words of annA"
    collect(bench.store, dry_run=False)
    assert not aside.exists()
    assert not (bench.store.root / "damaged-0.duckdb").exists()


def test_nothing_of_what_is_erased_is_left_in_the_store(bench: Bench) -> None:
    """Nor where a repair put what was damaged, nor in a draft that a killed process left a moment ago."""
    version, aside = set_aside(bench)
    bench.run("train", {"model/policy@V1": "words of anna, mended"})
    (bench.store.root / "tmp" / "draft.checkout").mkdir()
    (bench.store.root / "tmp" / "draft.checkout" / "weights").write_text("words of anna")
    collect(bench.store, dry_run=False, erased={version: "erased: annotator anna"})
    left = [path for path in bench.store.root.rglob("*") if path.is_file() and b"words of ann" in path.read_bytes()]
    assert [path.read_text() for path in left] == ["words of anna, mended"]
    assert not aside.exists()
