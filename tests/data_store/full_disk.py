"""A store on a small file system of its own that fills up: `python -m tests.data_store.full_disk FOLDER ACKS`,
as root of a user namespace (`unshare --user --map-root-user --mount`). Prints what was seen as JSON.
"""

import json
import subprocess
import sys
from pathlib import Path

from data_store.store import Store
from data_store.upkeep.verification import verify
from tests.data_store.writers import commit_runs, set_overrides

NO_MOUNT = 77


def main() -> None:
    """Fill the disk to the brim at several distances, write until it fails, make room, write again."""
    folder = Path(sys.argv[1])
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", folder], capture_output=True).returncode:
        sys.exit(NO_MOUNT)
    acks, ballast = Path(sys.argv[2]), folder / "ballast"
    store = Store.open(folder / "store")
    set_overrides(store, acks, "before", 2)
    failures = []
    for number, free in enumerate((0, 2, 15, 80)):  # pages that are free: it fails at ever later moments
        _fill(ballast, folder, free)
        before = store.heads()
        write = set_overrides if free < 10 else commit_runs
        try:
            for again in range(100):
                write(store, acks, f"run-{number}-{again}", 1)
        except Exception as error:
            failures.append([type(error).__name__, str(error)])
        readable = Store(store.root).heads()
        assert all(readable[asset].version_id == head.version_id for asset, head in before.items())
        ballast.unlink()
        commit_runs(store, acks, f"after-{number}", 1)
    succeeded = [run.run.run_id for run in store.runs(state="succeeded")]
    held = [f"{each.step} {each.key}" for each in store.overrides()]
    problems = verify(store).problems
    print(json.dumps({"failures": failures, "succeeded": succeeded, "held": held, "problems": problems}))


def _fill(ballast: Path, folder: Path, free_pages: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - 4096 * free_pages))


if __name__ == "__main__":
    main()
