"""Several processes for one training: what comes back, and how they end. The torch in it is a sum over all of them."""

import gc
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from accelerate import PartialState

from data_store.errors import InputError
from models.config import SFTConfig
from models.training.processes import data_parallel
from models.training.reporting import Reporter
from tests.models.training.little_runs import Recorder
from tests.tasks.bench import is_alive, wait_for

TWO = SFTConfig(batch_size=2, processes=2)


@data_parallel
def add_up(value: float, config: SFTConfig, *, work: Path, reporter: Reporter, fails: str = "") -> dict[str, float]:
    """The sum of value · (rank + 1) over all processes; the second one fails as asked, while the first waits for it."""
    state = PartialState(cpu=True)
    (work / str(state.process_index)).write_text(str(os.getpid()))
    reporter.log(f"this is process {state.process_index}")
    if state.process_index == 1:
        if fails == "input":
            raise InputError("pairs.jsonl:3: rating: 'fine' is no rating; use better")
        if fails == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fails == "never ends":
            time.sleep(600)
    total = torch.tensor(value * (state.process_index + 1))
    torch.distributed.all_reduce(total)
    return {"total": float(total), "processes": float(state.num_processes), "pid": float(os.getpid())}


def pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in sorted(folder.iterdir())]


def test_the_main_process_alone_reports_and_its_metrics_come_back(tmp_path: Path) -> None:
    class OnPaper(Recorder):
        def log(self, text: str) -> None:
            with (tmp_path.with_suffix(".txt")).open("a") as file:
                file.write(text + "\n")

    metrics = add_up(1.5, TWO, work=tmp_path, reporter=OnPaper())
    assert (metrics["total"], metrics["processes"]) == (4.5, 2)
    assert tmp_path.with_suffix(".txt").read_text() == "this is process 0\n"
    assert metrics["pid"] == pids(tmp_path)[0]
    assert len({*pids(tmp_path), os.getpid()}) == 3
    assert "RANK" not in os.environ


def test_where_one_process_fails_its_error_comes_back_and_the_others_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'fine' is no rating"):
        add_up(1.5, TWO, work=tmp_path, reporter=Recorder(), fails="input")
    assert not any(map(is_alive, pids(tmp_path)))


def test_where_one_process_is_killed_the_error_says_which(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="training process 2 of 2 ended with code -9"):
        add_up(1.5, TWO, work=tmp_path, reporter=Recorder(), fails="killed")
    assert not any(map(is_alive, pids(tmp_path)))


@pytest.mark.slow
def test_the_processes_go_with_the_one_that_started_them(tmp_path: Path) -> None:
    gc.collect()  # what other tests left must not be collected in a fork, where its threads are missing
    child = os.fork()
    if child == 0:
        add_up(1.5, TWO, work=tmp_path, reporter=Recorder(), fails="never ends")
        os._exit(0)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2, "both processes")
    wait_for(lambda: all(path.read_text() for path in tmp_path.iterdir()), "their ids")
    assert all(map(is_alive, pids(tmp_path)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: not any(map(is_alive, pids(tmp_path))), "their end", 10)
