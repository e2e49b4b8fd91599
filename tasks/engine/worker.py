"""The process in which steps compute: `python -m tasks.engine.worker MODULE …`, the modules of steps to load at the
start.

It loads torch once and forks a child per step, so a step starts in milliseconds, with fresh memory and fresh random
states. It reads one JSON line per question or job on standard input and answers with one line each. A question is which
code a step has: it loads all of it, and says what it loaded. When standard input closes, because the flow ended or was
killed, it ends every child with it: no training outlives its flow.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.engine.code import environment, git_state
from tasks.engine.loaded_code import LoadedCode


def main() -> None:
    """Serve jobs until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the flow, which closes our input
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    loaded = LoadedCode()
    loaded.install()
    gc.disable()  # nothing of what is loaded now is garbage, and a collection would look through all of it each time
    importlib.import_module("tasks.engine.step_process")
    for module in sys.argv[1:]:  # those of the steps that are to come: torch loads while the flow does other things
        _code(loaded, module)
    environment()  # as it is now: libraries may be exchanged while we serve
    gc.enable()
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
                elif "module" in job:
                    _say(answers, {"job": job["job"], "code": _code(loaded, job["module"])})
                else:
                    children[_fork(Path(job["folder"]), loaded)] = job["job"]
        while children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            # of the step's process, and of all processes of its own that it has waited for: its trainings
            spent = used.ru_utime + used.ru_stime
            code = os.waitstatus_to_exitcode(status)
            _say(answers, {"job": children.pop(pid), "ended": code, "processor_seconds": spent})


def _code(loaded: LoadedCode, module: str) -> dict[str, Any]:
    """What a step's module consists of here; or `error`, where it cannot be loaded."""
    try:
        files = dict(loaded.files(module))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    _silence_progress_bars()
    gc.freeze()
    commit, dirty = git_state()
    return {"files": files, "git_commit": commit, "git_dirty": dirty, "env": dict(environment())}


def _silence_progress_bars() -> None:
    """Of the libraries that are loaded."""
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()
    if "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()


def _say(answers: int, message: dict[str, Any]) -> None:
    from data_store.files import write_all  # a step may use it, too: its loading is recorded

    write_all(answers, json.dumps(message).encode() + b"\n")


def _end(children: dict[int, str]) -> None:
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(folder: Path, loaded: LoadedCode) -> int:
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
        from tasks.engine.step_process import run_job

        code = run_job(folder, loaded)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
