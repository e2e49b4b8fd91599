"""Who works on a step: one process of all machines at a time, in a folder named by the fingerprint."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from data_store.names import one_name
from data_store.store import Store
from tasks.engine.reading import Progress


def is_at_work(store: Store, fingerprint: str) -> bool:
    """Whether some process is computing this fingerprint now, on whichever machine of the store."""
    folder = folder_of(store, fingerprint)
    return _is_locked(folder) or store.catalog.journal.others.is_held(folder.name)


def _is_locked(folder: Path) -> bool:
    """Whether a process of this machine works in the folder."""
    try:
        lock = os.open(folder.with_suffix(".lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def folder_of(store: Store, fingerprint: str) -> Path:
    """Where a step of this fingerprint works."""
    return store.root / "work" / one_name(fingerprint)[:32]


@contextmanager
def alone(store: Store, folder: Path, on_progress: Progress) -> Iterator[None]:
    """Only one process of all machines works on a fingerprint; a second one waits for the first and then finds its
    result."""
    lock = _locked(folder, on_progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told = partial(on_progress, 0.0, "another machine is working on the same step; waiting for its result")
        with store.catalog.journal.others.alone(folder.name, told):
            yield
    finally:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
        os.close(lock)


def _locked(folder: Path, on_progress: Progress) -> int:
    """The descriptor of the folder's lock, held; of the file that lies there now, since `halter gc` takes old ones."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".lock")
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_progress(0.0, "another run is working on the same step; waiting for its result")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
