"""Real writer processes for the tests of concurrency and of sudden death.

Run as a program it is a nursery: it imports everything once, opens nothing, and for each line `JOB STORE ACKS NAME N`
on its standard input forks a child, whose process id it prints. So a child starts in a moment, and can be killed often.
A child appends a line to ACKS after each write that the store has acknowledged.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.names import AssetName
from data_store.records import RunInput, RunOutput, RunRecord
from data_store.rows import ROW_KINDS
from data_store.store import Store


def set_overrides(store: Store, acks: Path, name: str, count: int) -> None:
    """Small transactions."""
    for number in range(count):
        store.set_override("V1", name, f"key-{number}", number)
        acknowledge(acks, f"{name} key-{number}")


def commit_runs(store: Store, acks: Path, name: str, count: int) -> None:
    """Whole steps: publish files, publish rows on top of the last version, commit both, check the rows out."""
    model, dataset = AssetName("model", name, "V1"), AssetName("dataset", name, "V1")
    head = store.head(dataset)
    parent = head.version_id if head else None
    for number in range(count):
        run = RunRecord("step", "V1", f"{name}-{number}", "1", {}, number)
        with tempfile.TemporaryDirectory() as folder:
            files, rows = Path(folder, "files"), Path(folder, "rows")
            files.mkdir()
            rows.mkdir()
            (files / "weights").write_text(run.run_id * 1000)
            (files / "run_id").write_text(run.run_id)
            table = [{"doc_id": f"{run.run_id}-{n}", "source": "s", "text": run.run_id} for n in range(3)]
            pq.write_table(pa.Table.from_pylist(table, schema=ROW_KINDS["document"].schema), rows / "rows.parquet")
            outputs = {
                "model": RunOutput(model, store.publish("model", files)),
                "rows": RunOutput(dataset, store.publish("dataset", rows, row_kind="document", parent=parent)),
            }
        before = store.head(model)
        inputs = [RunInput("before", model, before.version_id, before.run_id)] if before else []
        store.commit_run(run, inputs, outputs)
        acknowledge(acks, run.run_id)
        parent = outputs["rows"].publication.version_id
        store.checkout(parent)


def acknowledge(acks: Path, line: str) -> None:
    """One append in one call: it is in the file even if the next instruction never runs."""
    descriptor = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


JOBS = {"set_overrides": set_overrides, "commit_runs": commit_runs}


class Nursery:
    """The other end of the nursery process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def start(self, job: str, store: Path, acks: Path, name: str, count: int) -> int:
        """Start a writer; gives its process id."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{job} {store} {acks} {name} {count}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> list[int]:
        """Wait until all writers have ended; gives their exit statuses (negative: killed by that signal)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("wait\n")
        self.process.stdin.flush()
        return [int(status) for status in self.process.stdout.readline().split()]


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery for the length of the block."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def main() -> None:
    """The nursery process."""
    children: list[int] = []
    for line in sys.stdin:
        if line == "wait\n":
            statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            children = []
            print(*statuses, flush=True)
            continue
        job, store, acks, name, count = line.split()
        child = os.fork()
        if child == 0:
            JOBS[job](Store.open(Path(store)), Path(acks), name, int(count))
            os._exit(0)
        children.append(child)
        print(child, flush=True)


if __name__ == "__main__":
    main()
