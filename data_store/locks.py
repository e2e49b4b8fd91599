"""Bounded file locks: one writer at a time, across processes and threads."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_store.errors import StoreError

LOCK_WAIT_SECONDS = 120.0
POLL_SECONDS = 0.005  # short, because whoever looks more often gets the lock more often


def try_lock(path: Path, *, exclusive: bool) -> int | None:
    """A descriptor that holds the lock, or None while somebody else has it. Release it with `unlock`.

    Every call opens its own descriptor, so flock keeps threads of one process apart too. Where the file cannot be
    written it is opened for reading: the lock is the same.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def unlock(descriptor: int) -> None:
    """Let go of the lock, even where a forked child still holds a copy of the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def take_lock(path: Path, *, exclusive: bool, wait_seconds: float = LOCK_WAIT_SECONDS) -> int:
    """A descriptor that holds the lock; raises StoreError when it is not to be had within `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    pause = 0.001
    while (descriptor := try_lock(path, exclusive=exclusive)) is None:
        if time.monotonic() > deadline:
            raise StoreError(
                f"{path}: somebody has held this lock for {wait_seconds:g} s; "
                f"look for a halter process that hangs (fuser {path.name}), then try again"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS)
    return descriptor


@contextmanager
def locked(path: Path, *, exclusive: bool, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock on a sidecar file for the length of the block; raises StoreError as `take_lock` does."""
    descriptor = take_lock(path, exclusive=exclusive, wait_seconds=wait_seconds)
    try:
        yield
    finally:
        unlock(descriptor)
