import time
from pathlib import Path

import pytest

from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.backups import backup, restore
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench
from tests.data_store.writers import nursery


@pytest.mark.slow
def test_a_backup_taken_while_others_write_is_whole(bench: Bench, tmp_path: Path) -> None:
    """Whatever the backup's journal speaks of is in it, and what was acknowledged before it began is spoken of."""
    acks = tmp_path / "acks"
    with nursery() as writers:
        for number in range(2):
            writers.start("commit_runs", bench.store.root, acks, f"writer-{number}", 12)
        while not acks.exists() or len(acks.read_text().splitlines()) < 4:
            time.sleep(0.01)
        before = set(acks.read_text().split())
        done = backup(bench.store, tmp_path / "backup")
        during = len(acks.read_text().split())
        assert writers.wait() == [0, 0]
    assert done.problems == ()
    assert during < 24, "they went on while it was taken"
    copy = Store.open(tmp_path / "backup")
    assert verify(copy).problems == ()
    kept = {run.run.run_id for run in copy.runs(state="succeeded")}
    assert before <= kept <= {run.run.run_id for run in bench.store.runs(state="succeeded")}
    assert backup(bench.store, copy.root).problems == ()
    assert copy.heads() == bench.store.heads()


def test_restoring_only_reads_the_backup(bench: Bench, tmp_path: Path) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    source = tmp_path / "backup"
    backup(bench.store, source)
    stamps = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    found = restore(source, tmp_path / "again", lambda draft: (draft / "note").touch())
    assert (found.n_events, found.n_objects) == (1, 1)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == stamps, "it was only read"
    again = Store.open(tmp_path / "again")
    assert (again.root / "note").exists()
    assert again.lineage(AssetName.parse("model/policy@V1")) == bench.store.lineage(AssetName.parse("model/policy@V1"))
