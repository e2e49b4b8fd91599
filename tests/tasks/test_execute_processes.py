"""One store, several flows, and flows that are killed: `tasks/engine/execute.py` between processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_store.names import AssetName
from tasks.engine.alone import is_at_work
from tests.tasks.bench import Bench, is_alive, wait_for
from tests.tasks.little_flow import counting

ROOT = Path(__file__).resolve().parents[2]


def start(bench: Bench, limit: int, seconds: float) -> "subprocess.Popen[str]":
    arguments = [str(bench.store.root), str(bench.ledger), str(limit), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.little_flow", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_flow_killed_in_mid_step_leaves_no_orphan_and_the_same_call_goes_on_from_its_checkpoint(
    bench: Bench,
) -> None:
    call = counting(bench.ledger, 20, 0.1)
    flow = start(bench, 20, 0.1)
    wait_for(lambda: len(bench.computed()) >= 5, "the fourth number", 120)
    flow.kill()
    flow.wait()
    pid = int(bench.computed()[0].split()[1])
    wait_for(lambda: not is_alive(pid), "the end of the training", 10)
    assert bench.states("count_slowly") == ["running"], "nobody could say what happened"
    assert not is_at_work(bench.store, call.fingerprint({}))
    assert bench.store.heads() == {}
    reached = int(bench.computed()[-1].split()[2])
    assert reached < 20

    outcome = bench.execute(call)
    assert not outcome.cached
    assert bench.text("model/number@V1") == "counted to 20"
    assert bench.states("count_slowly") == ["crashed", "succeeded"]
    newest, oldest = bench.store.runs(step="count_slowly")
    assert (oldest.run.attempt, newest.run.attempt) == (1, 2)
    assert oldest.detail == "the process ended without a word"
    starts = [int(line.split()[2]) for line in bench.computed() if line.startswith("start")]
    assert starts == [0, reached], "the second attempt began where the first had come to"


@pytest.mark.slow
def test_two_flows_that_want_the_same_result_compute_it_once(bench: Bench) -> None:
    call = counting(bench.ledger, 8, 0.25)
    other = start(bench, 8, 0.25)
    wait_for(lambda: len(bench.computed()) >= 2, "the other flow's first number", 120)
    assert is_at_work(bench.store, call.fingerprint({}))
    heard: list[str] = []
    outcome = bench.execute(call, on_progress=lambda _fraction, text: heard.append(text))
    out, _ = other.communicate(timeout=60)
    assert json.loads(out) == {"run": outcome.run_id, "cached": False}
    assert outcome.cached
    assert heard == ["another run is working on the same step; waiting for its result"]
    assert sum(line.startswith("start") for line in bench.computed()) == 1
    assert bench.states("count_slowly") == ["succeeded"]
    head = bench.store.head(AssetName.parse("model/number@V1"))
    assert head is not None
    assert head.run_id == outcome.run_id
