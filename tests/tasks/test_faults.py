"""A step whose worker is killed: what the catalog says, what is left, and how it goes on."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tasks.engine.alone import is_at_work
from tasks.engine.processes import WorkerDiedError
from tests.tasks.bench import Bench, is_alive, wait_for
from tests.tasks.little_flow import counting


@pytest.mark.slow
def test_a_killed_worker_ends_its_step_as_failed_and_the_same_call_goes_on_with_a_new_one(bench: Bench) -> None:
    call = counting(bench.ledger, 12, 0.1)
    failures: list[BaseException] = []

    def compute() -> None:
        try:
            bench.execute(call)
        except BaseException as error:
            failures.append(error)

    flow = threading.Thread(target=compute)
    flow.start()
    wait_for(lambda: len(bench.computed()) >= 5, "the fourth number", 120)
    step = int(bench.computed()[0].split()[1])
    os.kill(_parent(step), signal.SIGKILL)
    flow.join(60)
    (failure,) = failures
    assert isinstance(failure, WorkerDiedError)
    assert "ended with code -9" in str(failure)
    wait_for(lambda: not is_alive(step), "the end of the step's process", 10)
    (run,) = bench.store.runs(step="count_slowly")
    assert (run.state, run.detail) == ("failed", str(failure))
    assert not is_at_work(bench.store, call.fingerprint({}))
    assert bench.store.heads() == {}

    assert not bench.execute(call).cached
    starts = [int(line.split()[2]) for line in bench.computed() if line.startswith("start")]
    assert starts[0] == 0
    assert starts[1] >= 4, "from the checkpoint"
    assert bench.states("count_slowly") == ["failed", "succeeded"]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
