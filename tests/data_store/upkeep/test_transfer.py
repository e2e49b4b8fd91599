"""What one store takes over from another: heads, lineage back to the sources, content held against its hash."""

import shutil
from pathlib import Path

import pytest

from data_store.errors import InputError, StoreError
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import Metric, RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.transfer import Transferred, import_store
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
NOTHING = Transferred(0, 0, 0, 0)


@pytest.fixture
def there(tmp_path: Path, empty_store: Path) -> Bench:
    """Another store: a source, rows made of it, a model made of these, and a second model over the first."""
    shutil.copytree(empty_store, tmp_path / "there")
    bench = Bench(Store(tmp_path / "there"), tmp_path / "there-work")
    register_file(bench.store, bench.files(a="1") / "a")
    rows = bench.store.publish("dataset", bench.documents("one", "two"), row_kind="document")
    bench.run("filter", {"dataset/documents@base": rows}, ("source/a@external",))
    bench.run("train", {str(POLICY): "weights"}, ("dataset/documents@base",))
    bench.run("tune", {"model/policy@V2": "tuned"}, (str(POLICY),))
    return bench


@pytest.mark.slow
def test_heads_runs_edges_and_content_are_those_of_the_other_store(bench: Bench, there: Bench) -> None:
    metrics = [Metric("loss", 1.0, 1), Metric("loss", 0.5, 2), Metric("kl", float("nan"))]
    record = RunRecord("ppo", "V2", "f-ppo", "1", {"kl_coef": 0.01}, 3, code_files={"a.py": "1"}, git_commit="abc")
    there.store.begin_run(record, [])
    outputs = {"model": RunOutput(AssetName.parse("model/policy@V3"), there.publish("ppo"))}
    there.store.commit_run(record, [], outputs, metrics)
    added = import_store(bench.store, there.store.root)
    assert (added.steps, added.heads) == (4, 5)
    assert added.objects == len(list(there.store.objects.all()))
    mine, others = bench.store.heads(), there.store.heads()
    assert {a: (h.version_id, h.run_id) for a, h in mine.items()} == {
        a: (h.version_id, h.run_id) for a, h in others.items()
    }
    policy = AssetName.parse("model/policy@V2")
    ours, theirs = bench.store.lineage(policy), there.store.lineage(policy)
    assert ours.edges == theirs.edges
    assert {i: (s.run, s.seconds, s.state) for i, s in ours.runs.items()} == {
        i: (s.run, s.seconds, s.state) for i, s in theirs.runs.items()
    }
    assert [repr(m) for m in bench.store.metrics(record.run_id)] == [
        repr(m) for m in there.store.metrics(record.run_id)
    ]
    assert sorted(
        bench.store.rows(others[AssetName.parse("dataset/documents@base")].version_id)["text"].to_pylist()
    ) == [
        "one",
        "two",
    ]
    found = bench.store.find_finished("f-ppo")
    assert found is not None
    assert found.run_id == record.run_id  # so nothing of it is trained again
    assert bench.store.stale() == {}
    assert verify(bench.store).problems == ()


@pytest.mark.slow
def test_importing_twice_adds_nothing_and_a_rebuild_keeps_it(bench: Bench, there: Bench) -> None:
    import_store(bench.store, there.store.root)
    heads, events = bench.store.heads(), bench.store.catalog.read("SELECT count(*) FROM applied_event")
    assert import_store(bench.store, there.store.root) == NOTHING
    assert bench.store.catalog.read("SELECT count(*) FROM applied_event") == events
    bench.store.rebuild()
    assert bench.store.heads() == heads


@pytest.mark.slow
def test_what_the_other_store_did_since_follows_and_what_was_done_here_stays(bench: Bench, there: Bench) -> None:
    import_store(bench.store, there.store.root)
    again = there.run("train", {str(POLICY): "better weights"}, ("dataset/documents@base",))
    added = import_store(bench.store, there.store.root)
    assert (added.steps, added.heads, added.objects) == (1, 1, 1)
    head = bench.store.head(POLICY)
    assert head is not None
    assert head.run_id == again.run_id
    assert list(bench.store.stale()) == [AssetName.parse("model/policy@V2")]
    mine = bench.run("tune", {"model/policy@V2": "tuned here"}, (str(POLICY),))
    assert import_store(bench.store, there.store.root) == NOTHING  # this store is ahead
    assert bench.store.heads()[AssetName.parse("model/policy@V2")].run_id == mine.run_id


def test_stores_that_have_gone_apart_are_refused_with_the_names(bench: Bench, there: Bench) -> None:
    bench.run("train", {str(POLICY): "other weights"})
    before = bench.store.heads()
    with pytest.raises(InputError, match=r"gone apart: model/policy@V1 \(here \w{12}, there \w{12}\)"):
        import_store(bench.store, there.store.root)
    assert bench.store.heads() == before


@pytest.mark.slow
def test_a_damaged_object_is_named_and_nothing_is_made_known(bench: Bench, there: Bench) -> None:
    head = there.store.heads()[POLICY]
    (ref,) = there.store.version(head.version_id).objects
    path = there.store.objects.path(ref.sha256)
    path.chmod(0o644)
    path.write_text("weight5")
    with pytest.raises(StoreError, match=rf"{ref.sha256} is damaged: its bytes hash to .*; nothing was imported"):
        import_store(bench.store, there.store.root)
    assert bench.store.heads() == {}
    path.write_text("weights")
    assert import_store(bench.store, there.store.root).steps == 3
    assert verify(bench.store).problems == ()


@pytest.mark.slow
def test_content_that_the_other_store_has_removed_stays_removed(bench: Bench, there: Bench) -> None:
    there.run("train", {str(POLICY): "better weights"}, ("dataset/documents@base",))
    there.run("tune", {"model/policy@V2": "tuned better"}, (str(POLICY),))
    there.run("tune", {"model/late@V3": "late"}, (str(POLICY),))
    there.run("tune", {str(POLICY): "best weights"})
    there.run("tune", {"model/policy@V2": "tuned best"}, ("model/late@V3",))
    retired = collect(there.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0)).retired
    assert retired
    import_store(bench.store, there.store.root)
    assert verify(bench.store).problems == ()
    assert import_store(bench.store, there.store.root) == NOTHING


def test_a_place_that_is_no_other_store_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(InputError, match="is no halter store"):
        import_store(bench.store, tmp_path / "thesis")
    assert list((tmp_path / "thesis").iterdir()) == []
    with pytest.raises(InputError, match="this very store"):
        import_store(bench.store, bench.store.root)
