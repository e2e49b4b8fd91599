"""Runs trainings in processes of their own, that can be killed. Imports torch once and forks for each run.

Reads one JSON object a line: which run, where, with which changes of its config, and at which checkpoint it dies. It
dies by SIGKILL in the moment before the finished checkpoint gets its name: the one before is the newest, and
half-written work lies beside it. Of a training on several processes only the main one can write.

With `nodes` there are so many at once, each of which is one of these (models/training/nodes.py); those after the first
have the folder `node N`, and dies the first. `networks` are files of the namespaces that they are in.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models.training.nodes import Endpoint, Place, TookPartError, standing_at
from tests.models.training.little_runs import RUNS, Recorder, without_the_clock

_A_NETWORK = 0x40000000  # CLONE_NEWNET


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
    """The others of its machine may not put one byte into a file: SIGXFSZ ends them if they try, and so the run."""

    limited = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal limited
        if not limited and os.environ.get("LOCAL_RANK", "0") != "0":
            limited = True  # first of all: what follows is heard here too
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    sys.addaudithook(hook)


@dataclass(frozen=True)
class ByFile:
    """How nodes of one machine hear of the first."""

    path: Path

    def tell(self, endpoint: Endpoint) -> None:
        temporary = self.path.with_suffix(".writing")
        temporary.write_text(json.dumps(asdict(endpoint)))
        temporary.rename(self.path)

    def ask(self) -> Endpoint | None:
        return Endpoint(**json.loads(self.path.read_text())) if self.path.exists() else None


def run(job: dict[str, Any], node: int) -> None:
    let_only_the_main_process_write()
    if job["die_before"] is not None and node == 0:
        die_before(job["die_before"])
    whole, nodes = Path(job["folder"]), job["nodes"]
    folder = whole / f"node {node + 1}" if node else whole
    folder.mkdir(exist_ok=True)
    place = Place(node, nodes, job["addresses"][node], job["wait_seconds"], ByFile(whole / "told"))
    torch.manual_seed(11)  # as a step does before it builds a model: fresh adapters are drawn from it
    with standing_at(place) if nodes > 1 else nullcontext():
        metrics = RUNS[job["trainer"]](
            Path(job["policy"]), Path(job["reward"]), folder / "out", folder / "work",
            FileRecorder(folder / "log.txt"), checkpoint_seconds=job["checkpoint_seconds"], **job["changes"],
        )  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(without_the_clock(metrics), sort_keys=True))


def begin(job: dict[str, Any], node: int) -> int:
    """The process that does it, or one node of it."""
    child = os.fork()
    if child:
        return child
    with (Path(job["folder"]) / "output.txt").open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        if job["networks"]:
            network = os.open(job["networks"][node], os.O_RDONLY)
            assert ctypes.CDLL(None, use_errno=True).setns(network, _A_NETWORK) == 0, os.strerror(ctypes.get_errno())
        run(job, node)
    except TookPartError:
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def main() -> None:
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "told").unlink(missing_ok=True)
        children = [begin(job, node) for node in range(job["nodes"]) if node not in job["absent"]]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(next(filter(None, codes), 0), flush=True)


if __name__ == "__main__":
    main()
