import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from data_store.catalog.journal import START
from data_store.content.rowsets import ROWS_FILE
from data_store.errors import StoreError
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench
from tests.data_store.writers import nursery

KILLS = 10


def acknowledged(acks: Path) -> list[str]:
    return acks.read_text().splitlines() if acks.exists() else []


@pytest.mark.slow
def test_four_processes_lose_no_transaction(bench: Bench, tmp_path: Path) -> None:
    acks = tmp_path / "acks"
    with nursery() as writers:
        for name in ("one", "two", "three", "four"):
            writers.start("set_overrides", bench.store.root, acks, name, 25)
        assert writers.wait() == [0, 0, 0, 0]
    found = {f"{override.step} {override.key}" for override in bench.store.overrides()}
    assert len(found) == 100
    assert found == set(acknowledged(acks))
    assert [entry.seq for entry in bench.store.catalog.journal.after(0, START)] == list(range(1, 101))


@pytest.mark.slow
def test_writers_killed_at_any_moment_lose_nothing_acknowledged_and_show_nothing_half(
    bench: Bench, tmp_path: Path
) -> None:
    acks, root = tmp_path / "acks", bench.store.root
    chance = random.Random(7)
    killed = 0
    with nursery() as writers:
        deadline = time.monotonic() + 600  # to stop, not to judge: a busy machine takes its time
        while killed < KILLS and time.monotonic() < deadline:
            seen = len(acknowledged(acks))
            pids = [writers.start("commit_runs", root, acks, name, 1000) for name in ("left", "right")]
            while len(acknowledged(acks)) == seen and time.monotonic() < deadline:
                time.sleep(0.005)
            for pid in pids:
                time.sleep(chance.uniform(0, 0.15))
                os.kill(pid, signal.SIGKILL)
                killed += 1
            assert writers.wait() == [-signal.SIGKILL] * 2  # none had died of an error of its own
    assert killed >= KILLS

    store = Store.open(root)  # goes on as if nothing had happened
    done = acknowledged(acks)
    finished = {summary.run.run_id for summary in store.runs(state="succeeded")}
    assert len(done) >= KILLS // 2
    assert set(done) <= finished
    assert verify(store).problems == ()
    for name in ("left", "right"):
        newest = store.head(AssetName("model", name, "V1"))
        assert newest is not None
        graph = store.lineage(newest.asset)  # each run read the model of the one before
        finished -= set(graph.runs)
        for run_id in graph.runs:
            made = {edge.role: edge.version_id for edge in graph.outputs_of(run_id)}
            assert set(made) == {"model", "rows"}  # never one edge of a run without the other
        assert (store.checkout(newest.version_id) / "run_id").read_text() == newest.run_id
        rows = store.head(AssetName("dataset", name, "V1"))
        assert rows is not None
        assert rows.run_id == newest.run_id
        assert store.rows(rows.version_id).column("text").to_pylist() == [newest.run_id] * 3
    assert finished == set()
    for version, _ in store.checkouts.cached():
        files = sorted(path.name for path in store.checkouts.path(version).iterdir())
        assert files in (["run_id", "weights"], [ROWS_FILE])
    before = store.heads()
    store.rebuild()
    assert store.heads() == before


@pytest.mark.slow
def test_threads_of_one_process_write_and_read_at_once(bench: Bench) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(4):
                bench.store.set_override("V1", name, f"key-{number}", 1)
                keys = [override.key for override in bench.store.overrides() if override.step == name]
                assert len(keys) == number + 1  # a writer reads what it wrote
                bench.store.query("SELECT count(*) FROM run")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(bench.store.overrides()) == 12


@pytest.mark.slow
def test_collecting_beside_publishing_never_leaves_a_version_without_its_content(bench: Bench) -> None:
    """With no grace at all a publication may go before its commit; then the commit is refused, never half done."""
    refused: list[StoreError] = []
    stop = threading.Event()

    def gather() -> None:
        while not stop.wait(0.05):  # a moment for the others: polled locks know no queue
            collect(bench.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0), grace_seconds=-1.0)

    collector = threading.Thread(target=gather)
    collector.start()
    for number in range(8):
        try:
            bench.run("train", {"model/policy@V1": f"weights {number % 3}"})
        except StoreError as error:
            refused.append(error)
    stop.set()
    collector.join()
    assert all("missing" in str(error) for error in refused)
    assert len(bench.store.runs(state="succeeded")) == 8 - len(refused)
    assert verify(bench.store).problems == ()
