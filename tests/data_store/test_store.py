import math
from pathlib import Path

import pytest

from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import Metric, RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.upkeep import collect
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")


def test_a_run_reads_back_as_it_was_recorded(bench: Bench) -> None:
    record = RunRecord(
        step="train_reward",
        part="V2",
        fingerprint="f" * 64,
        code_version="3",
        config={"lr": 1e-5, "margins": {"better": 0.5}, "name": "é"},
        seed=-7,
        attempt=2,
        git_commit="abc",
        git_dirty=True,
        code_files={"models/b.py": "22", "models/a.py": "11"},
        env={"torch": "2.8"},
        prefect_flow_run_id="flow",
        prefect_task_run_id="task",
        prefect_root_flow_run_id="root",
    )
    bench.store.begin_run(record)
    metrics = [Metric("loss", 2.0, 1), Metric("loss", 0.5, 10), Metric("kl", math.nan), Metric("reward", -math.inf)]
    bench.store.commit_run(record, [], {"model": RunOutput(POLICY, bench.publish("w"))}, metrics)
    (summary,) = bench.store.runs(part="V2", step="train_reward", state="succeeded")
    assert summary.run == record
    assert summary.seconds is not None
    assert summary.seconds >= 0
    assert {name: repr(value) for name, value in summary.metrics.items()} == {
        "kl": "nan",
        "loss": "0.5",
        "reward": "-inf",
    }
    assert [(m.name, m.step) for m in bench.store.metrics(record.run_id)] == [
        *(("kl", 0), ("loss", 1), ("loss", 10), ("reward", 0))
    ]
    assert bench.store.runs(part="V3") == []


def test_a_finished_run_is_found_by_its_fingerprint_with_outputs_and_metrics(bench: Bench) -> None:
    assert bench.store.find_finished("f1") is None
    old = bench.run("train", {"model/policy@V1": "a"}, fingerprint="f1")
    new = bench.run("train", {"model/policy@V1": "b"}, fingerprint="f1")
    found = bench.store.find_finished("f1")
    assert found is not None
    assert found.run_id == new.run_id
    version = bench.publish("b")
    assert found.outputs == {"output-0": (POLICY, version.version_id)}
    bench.store.objects.remove(version.objects[0].sha256)
    found = bench.store.find_finished("f1")
    assert found is not None
    assert found.run_id == old.run_id  # the newest whose content is still there


def test_a_run_that_did_not_succeed_is_not_found(bench: Bench) -> None:
    record = RunRecord("train", "V1", "f1", "1", {}, 0)
    bench.store.begin_run(record)
    assert bench.store.find_finished("f1") is None
    bench.store.finish_run(record.run_id, "failed", "loss is nan")
    assert bench.store.find_finished("f1") is None
    assert [(s.state, s.detail) for s in bench.store.runs(state="failed")] == [("failed", "loss is nan")]


def test_a_head_keeps_its_history_with_runs_and_reasons(bench: Bench) -> None:
    first = bench.run("train", {"model/policy@V1": "a"})
    second = bench.run("train", {"model/policy@V1": "b"})
    a, b = (bench.publish(text).version_id for text in "ab")
    bench.store.move_heads(first.run_id, {POLICY: a}, "same fingerprint")
    history = bench.store.history(POLICY)
    assert [(h.version_id, h.run_id, h.reason) for h in history] == [
        (a, first.run_id, "same fingerprint"),
        (b, second.run_id, "made by its step"),
        (a, first.run_id, "made by its step"),
    ]
    assert bench.store.head(POLICY) == history[0] == bench.store.heads()[POLICY]
    bench.store.move_heads(first.run_id, {POLICY: a}, "nothing to do")
    assert len(bench.store.history(POLICY)) == 3


def test_a_head_moves_only_to_what_the_run_wrote_under_that_name(bench: Bench) -> None:
    run = bench.run("train", {"model/policy@V1": "a"})
    bench.run("train", {"model/policy@V2": "b"})
    a, b = (bench.publish(text).version_id for text in "ab")
    begun = RunRecord("train", "V1", "f", "1", {}, 0)
    bench.store.begin_run(begun)
    for run_id, asset, version in (
        (run.run_id, "model/policy@V1", b),
        (run.run_id, "model/policy@V2", a),
        (begun.run_id, "model/policy@V2", a),
    ):
        with pytest.raises(InputError, match=r"did not write|has not succeeded"):
            bench.store.move_heads(run_id, {AssetName.parse(asset): version}, "wrong")


def test_a_head_does_not_move_to_content_that_is_gone(bench: Bench) -> None:
    first = bench.run("train", {"model/policy@V1": "a"})
    bench.run("train", {"model/policy@V1": "b"})
    publication = bench.publish("a")
    bench.store.objects.remove(publication.objects[0].sha256)
    with pytest.raises(StoreError, match="missing"):
        bench.store.move_heads(first.run_id, {POLICY: publication.version_id}, "again")


def test_the_last_override_wins_and_can_be_taken_back(bench: Bench) -> None:
    store = bench.store
    store.set_override("V2", "ppo", "kl_coef", 0.01)
    store.set_override("V2", "ppo", "kl_coef", 0.02)
    store.set_override("V2", "reward", "margins", {"better": None})
    assert [(o.part, o.step, o.key, o.value_json) for o in store.overrides()] == [
        ("V2", "ppo", "kl_coef", "0.02"),
        ("V2", "reward", "margins", '{"better":null}'),
    ]
    store.unset_override("V2", "ppo", "kl_coef")
    assert [o.step for o in store.overrides()] == ["reward"]
    with pytest.raises(InputError, match="plain JSON"):
        store.set_override("V2", "ppo", "kl_coef", math.nan)


def test_files_are_not_rows(bench: Bench) -> None:
    bench.run("train", {"model/policy@V1": "a"})
    head = bench.store.head(POLICY)
    assert head is not None
    with pytest.raises(InputError, match="holds files, not rows"):
        bench.store.rows(head.version_id)


def test_a_version_opens_as_a_data_set_of_its_rows_built_once(bench: Bench) -> None:
    bench.run(
        "import", {"dataset/d@V1": bench.store.publish("dataset", bench.documents("a", "b"), row_kind="document")}
    )
    version = bench.store.heads()[AssetName.parse("dataset/d@V1")].version_id
    found = bench.store.dataset(version)
    assert found.to_list() == bench.store.rows(version).to_pylist()
    file = bench.store.arrow_files.path(version)
    before = file.stat().st_ino
    assert bench.store.dataset(version)["text"] == found["text"]
    assert file.stat().st_ino == before
    collect(bench.store, dry_run=False, checkout_seconds=-1.0)
    assert bench.store.arrow_files.cached() == []
    assert len(bench.store.dataset(version)) == 2
    bench.run("train", {"model/policy@V1": "a"})
    with pytest.raises(InputError, match="holds files, not rows"):
        bench.store.dataset(bench.store.heads()[POLICY].version_id)


def test_two_stores_with_the_same_content_have_the_same_versions(bench: Bench, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "elsewhere")
    folder = bench.documents("a", "b")
    here = bench.store.publish("dataset", folder, row_kind="document")
    there = other.publish("dataset", folder, row_kind="document")
    assert here == there


def test_version_ids_never_change(bench: Bench) -> None:
    """Fixed by hand: a change to these breaks every store that people have."""
    files = bench.store.publish("model", bench.files(config="{}"))
    rows = bench.store.publish("dataset", bench.documents("a"), row_kind="document")
    assert (files.version_id[:16], rows.version_id[:16]) == ("7ac5c2eb47f74c66", "55deeec0243f21b0")
