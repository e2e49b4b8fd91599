"""Runs trainings in processes of their own, that can be killed. Imports torch once and forks for each run.

Reads one JSON object a line: which run, where, with which changes of its config, and at which checkpoint it dies. It
dies by SIGKILL in the moment before the finished checkpoint gets its name: the one before is the newest, and
half-written work lies beside it. Of a training on several processes only the main one can write.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from tests.models.training.little_runs import RUNS, Recorder, without_the_clock


class FileRecorder(Recorder):
    """Writes each line of the log and each point of a curve at once, so that it outlives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def log(self, text: str) -> None:
        if "tokens/s" in text:  # by the clock: two trainings that are the same differ in it
            return
        with self.path.open("a") as file:
            file.write(text + "\n")

    def metric(self, name: str, value: float, step: int) -> None:
        with self.path.with_name("curves.txt").open("a") as file:
            file.write(json.dumps([name, step, value]) + "\n")


def die_before(checkpoint: str) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and Path(os.fsdecode(arguments[1])).name == checkpoint:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def let_only_the_main_process_write() -> None:
    """The others may not put one byte into a file: SIGXFSZ ends them if they try, and so the run."""

    limited = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal limited
        if not limited and os.environ.get("RANK", "0") != "0":
            limited = True  # first of all: what follows is heard here too
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    sys.addaudithook(hook)


def run(job: dict[str, Any]) -> None:
    let_only_the_main_process_write()
    if job["die_before"] is not None:
        die_before(job["die_before"])
    folder = Path(job["folder"])
    torch.manual_seed(11)  # as a step does before it builds a model: fresh adapters are drawn from it
    metrics = RUNS[job["trainer"]](
        Path(job["policy"]), Path(job["reward"]), folder / "out", folder / "work",
        FileRecorder(folder / "log.txt"), checkpoint_seconds=job["checkpoint_seconds"], **job["changes"],
    )  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(without_the_clock(metrics), sort_keys=True))


def main() -> None:
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child == 0:
            with (folder / "output.txt").open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            try:
                run(job)
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
