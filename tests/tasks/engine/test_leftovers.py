"""What steps leave in the folder `work`, and what of it `halter gc` may take."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from data_store.store import Store
from tasks.engine.alone import alone
from tasks.engine.leftovers import ABANDONED_SECONDS, sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def leave(store: Store, name: str, *, days: float) -> Path:
    """A folder with a checkpoint of 5 bytes, last written so many days ago, and its lock."""
    folder = store.root / "work" / name
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_text("12345")
    moment = time.time() - 86400 * days
    for path in (folder / "checkpoint", folder):
        os.utime(path, (moment, moment))
    folder.with_suffix(".lock").touch()
    return folder


def names(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "work").iterdir())


def test_work_long_left_and_the_locks_of_finished_steps_go_and_recent_work_stays(store: Store) -> None:
    leave(store, "recent", days=ABANDONED_SECONDS / 86400 - 1)
    leave(store, "old", days=ABANDONED_SECONDS / 86400 + 1)
    (store.root / "work" / "done.lock").touch()
    before = names(store)
    named = [(item.what, item.bytes) for item in sweep(store, dry_run=True)]
    assert named == [("unfinished work old", 5), ("2 locks in work", 0)]
    assert names(store) == before
    assert [(item.what, item.bytes) for item in sweep(store, dry_run=False)] == named
    assert names(store) == ["recent", "recent.lock"]


def test_what_a_process_holds_stays(store: Store) -> None:
    folder = leave(store, "held", days=100)
    with folder.with_suffix(".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweep(store, dry_run=False) == ()
    assert names(store) == ["held", "held.lock"]


def test_a_step_that_waited_for_a_lock_which_was_taken_away_holds_the_new_one(store: Store) -> None:
    """Else two processes could work on one step, each with a lock of its own."""
    folder = store.root / "work" / "step"
    waits, holds, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with alone(store, folder, lambda _fraction, _text: waits.set()):
            holds.set()
            over.wait(20)

    path = folder.with_suffix(".lock")
    path.parent.mkdir(parents=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=work)
        thread.start()
        assert waits.wait(20)
        path.unlink()
    assert holds.wait(20)
    with path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    over.set()
    thread.join()
