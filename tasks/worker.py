"""The process in which steps compute: `python -m tasks.worker`.

It loads torch once and forks a child per step, so a step starts in milliseconds, with fresh memory and fresh random
states. It reads one JSON line per job on standard input and answers with one line per finished job. When standard input
closes, because the flow ended or was killed, it ends every child with it: no training outlives its flow.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_store.commands import speak_of
from data_store.errors import InputError
from data_store.files import atomic_write, write_all
from tasks.step import Output, Step, StepInput, StepRun

PRELOAD = (
    "models.training.pretrain",
    "models.training.sft",
    "models.training.reward",
    "models.training.ppo",
    "models.training.dpo",
)


def main() -> None:
    """Serve jobs until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the flow, which closes our input
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    for name in PRELOAD:
        importlib.import_module(name)
    _silence_progress_bars()
    gc.collect()
    gc.freeze()  # what is loaded stays; a collection in a child would walk, and so copy, all of it
    children: dict[int, str] = {}
    buffer = b""
    _say(answers, {"ready": True})
    while True:
        readable, _, _ = select.select([0], [], [], 0.02)
        if readable:
            chunk = os.read(0, 65536)
            if not chunk:
                _end(children)
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                job = json.loads(line)
                if "stop" in job:
                    _end({pid: name for pid, name in children.items() if name == job["stop"]})
                else:
                    children[_fork(Path(job["folder"]))] = job["job"]
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            _say(answers, {"job": children.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _silence_progress_bars() -> None:
    import datasets
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()


def _say(answers: int, message: dict[str, Any]) -> None:
    write_all(answers, json.dumps(message).encode() + b"\n")


def _end(children: dict[int, str]) -> None:
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(folder: Path) -> int:
    worker = os.getpid()
    pid = os.fork()
    if pid:
        with suppress(OSError):  # both sides set the group, so that it is there before either goes on
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        threading.Thread(target=_watch_parent, args=(worker,), daemon=True).start()
        code = run_job(folder)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def run_job(folder: Path) -> int:
    """Run the step that `folder/job.json` describes; leaves `result.json` there. Returns the exit code."""
    job = json.loads((folder / "job.json").read_text())
    speak_of(job["run"])
    try:
        declared = getattr(importlib.import_module(job["module"]), job["function"])
        if not isinstance(declared, Step):
            raise TypeError(f"{job['module']}.{job['function']} is not a step")
        run = StepRun(
            name=declared.name,
            part=job["part"],
            seed=job["seed"],
            inputs={
                role: tuple(StepInput(e["asset"], e["version_id"], Path(e["path"])) for e in entries)
                for role, entries in job["inputs"].items()
            },
            outputs={role: Output(**output) for role, output in job["outputs"].items()},
            folder=folder,
            withdrawn=[(what, name) for what, name in job["withdrawn"]],
        )
        metrics = declared.function(run, declared.config.model_validate(job["config"]))
    except BaseException as error:  # whatever it was, the flow must hear of it
        traceback.print_exc()
        kind = "input" if isinstance(error, InputError | ValueError) else "failure"
        message = f"{error}" if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        atomic_write(folder / "result.json", json.dumps({"error": message, "kind": kind}))
        return 1
    atomic_write(folder / "result.json", json.dumps({"metrics": {k: float(v) for k, v in metrics.items()}}))
    return 0


if __name__ == "__main__":
    main()
