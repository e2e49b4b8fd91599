"""What steps have left in the folder `work` of a store: the places of trainings that nobody took up again, and the
locks of those that are done."""

import fcntl
import os
import shutil
import time
from pathlib import Path

from data_store.store import Store
from data_store.upkeep.upkeep import Unneeded

ABANDONED_SECONDS = 14 * 86400.0
"""A training that was cut off longer ago has lost its claim to go on from its last checkpoint."""


def sweep(store: Store, *, dry_run: bool, seconds: float = ABANDONED_SECONDS) -> tuple[Unneeded, ...]:
    """Remove the folders in which no step has written for `seconds`, and the locks of steps that have no folder, both
    only where no process holds the lock; with `dry_run` only name them. Folders are named one by one, locks together.
    """
    found = []
    locks = 0
    for path in sorted((store.root / "work").glob("*.lock")):
        descriptor = os.open(path, os.O_RDONLY if dry_run else os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = path.with_suffix("")
            if folder.exists():
                if time.time() - _written(folder) < seconds:
                    continue
                size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
                found.append(Unneeded(f"unfinished work {folder.name}", None, size, "nobody went on with it"))
                if not dry_run:
                    shutil.rmtree(folder)
            locks += 1
            if not dry_run:
                path.unlink()
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    if locks:
        found.append(Unneeded(f"{locks} locks in work", None, 0, "their steps are done"))
    return tuple(found)


def _written(folder: Path) -> float:
    return max(each.stat().st_mtime for each in (folder, *folder.rglob("*")))
