"""A machine that misbehaves beneath the store: a full disk, a slow disk, a clock that is set back."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.soak_disk import NO_MOUNT as SOAK_NO_MOUNT
from data_store.catalog import events
from data_store.errors import StoreError
from data_store.names import AssetName
from data_store.records import RunRecord, now
from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.full_disk import NO_MOUNT
from tests.data_store.store_bench import Bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_full_disk_is_said_loses_nothing_and_shows_nothing_half(tmp_path: Path) -> None:
    """On a file system of its own that is filled to the brim four times, and gets room again."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a small file system without being root")
    (tmp_path / "disk").mkdir()
    acks = tmp_path / "acks"
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.data_store.full_disk", str(tmp_path / "disk"), str(acks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode == NO_MOUNT or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system in a namespace of their own")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["failures"]) == 4, "each time it did become full"
    assert {kind for kind, _ in seen["failures"]} <= {"OSError", "UnwritableError"}, "the commands print the message"
    assert all("space" in message.lower() for _, message in seen["failures"])
    acknowledged = acks.read_text().splitlines()
    assert len(acknowledged) >= 6
    assert set(acknowledged) <= {*seen["succeeded"], *seen["held"]}
    assert seen["problems"] == []


@pytest.mark.slow
def test_several_writers_on_a_disk_that_fills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """One short round of benchmarks/soak_disk.py: the store opens at the brim and afterwards, and verifies."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a small file system without being root")
    words = ["benchmarks/soak_disk.py", "--rounds", "1", "--writers", "4", "--fills", "2", "--json"]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    if done.returncode == SOAK_NO_MOUNT or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system in a namespace of their own")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert seen["acknowledged"] >= 20
    assert sum(seen["refused"].values()) >= 16, "each time it did become full"


@pytest.mark.slow
def test_on_a_disk_that_syncs_slowly_a_version_is_there_whole_or_not_at_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, asked = os.fsync, 0

    def slow(descriptor: int) -> None:
        nonlocal asked
        asked += 1
        time.sleep(0.05)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(3):
                bench.run("train", {"model/policy@V1": f"weights {number}"})
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    asset, seen = AssetName.parse("model/policy@V1"), set()
    while not done.wait(0.01):
        head = bench.store.head(asset)
        if head is not None:
            seen.add(head.version_id)
            assert any((bench.store.checkout(head.version_id)).iterdir())
    writer.join()
    assert asked >= 12, "files, folders, spool and journal of three runs"
    assert seen
    assert [run.state for run in bench.store.runs()] == ["succeeded"] * 3
    assert verify(bench.store).problems == ()


@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_no_order_and_no_head(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal counts; the times beside it are for people."""
    bench.run("train", {"model/policy@V1": "before"})
    hour, clock = 3600 * 10**9, time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() - hour)
    monkeypatch.setattr(events, "now", lambda: now() - timedelta(hours=1))
    late = RunRecord("train", "V1", "again", "1", {}, 1, started_at=now() - timedelta(hours=1))
    bench.store.begin_run(late)
    assert bench.store.runs()[0].run.run_id == late.run_id, "newest first"
    bench.store.finish_run(late.run_id, "failed", "out of luck")
    bench.store.set_override("V1", "train", "lr", 1)
    bench.store.set_override("V1", "train", "lr", 2)
    assert [override.value_json for override in bench.store.overrides()] == ["2"]
    bench.run("train", {"model/policy@V1": "after"})
    asset = AssetName.parse("model/policy@V1")
    head = bench.store.head(asset)
    assert head is not None
    assert [each.run_id == head.run_id for each in bench.store.history(asset)] == [True, False]
    newest = bench.store.runs()[0]
    assert newest.run.run_id == head.run_id
    before = bench.store.heads()
    bench.store.rebuild()
    assert bench.store.heads() == before
    assert Store(bench.store.root).runs()[0].run.run_id == head.run_id
    assert verify(bench.store).problems == ()


def test_a_catalog_that_another_program_holds_open_is_named_and_what_was_written_is_there_afterwards(
    bench: Bench,
) -> None:
    bench.store.set_override("V1", "train", "lr", 1)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    file = str(bench.store.root / "catalog.duckdb")
    other = subprocess.Popen(
        [sys.executable, "-c", hold, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    bench.store.catalog.wait_seconds = 0.5
    with pytest.raises(StoreError, match=r"catalog\.duckdb is open in another program; close it"):
        bench.store.heads()
    with pytest.raises(StoreError, match="open in another program"):
        bench.store.set_override("V1", "train", "lr", 2)
    other.stdin.close()
    other.wait(60)
    bench.store.catalog.wait_seconds = 60.0
    bench.store.set_override("V1", "train", "epochs", 3)
    held = {override.key: override.value_json for override in bench.store.overrides()}
    assert held == {"lr": "2", "epochs": "3"}, "the write had waited in the spool"
