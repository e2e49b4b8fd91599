"""The flow's side of the worker process: start it, hand it jobs, stop them."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class WorkerDiedError(RuntimeError):
    """The worker process, or the step's own process, ended without a result."""


@dataclass(frozen=True)
class StepCode:
    """The code of a step as the worker process has loaded it: path → sha256 of its files, the commit they stand in, and
    the libraries beside them."""

    files: Mapping[str, str]
    git_commit: str | None
    git_dirty: bool | None
    env: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, and the seconds that it and the processes that it waited for were on a
    processor."""

    code: int
    processor_seconds: float


class Workers:
    """One worker process, started at the first job; safe to use from several threads. Close it when the flow ends.

    `preload`: the modules of steps whose code the process loads at its start, all that they import included."""

    def __init__(self, preload: Iterable[str] = ()) -> None:
        self.preload = tuple(sorted(set(preload)))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[str, dict[str, Any]] = {}
        self._loaded: dict[str, StepCode] = {}  # by module; of the present process
        self._stopped = False
        self._changed = threading.Condition(self._lock)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)

    def start(self) -> None:
        """Start loading torch now, so that the first job need not wait for it."""
        with self._lock:
            self._started()

    def code(self, module: str) -> StepCode:
        """What the worker has loaded as the code of a step's module. It stays that for as long as the worker lives,
        whatever becomes of the files. Raises ValueError where the module cannot be loaded."""
        with self._lock:
            process = self._started()
            if module in self._loaded:
                return self._loaded[module]
            question = str(next(self._numbers))
            self._send(process, {"job": question, "module": module})
        answer = self._answer(process, question, lambda: None)["code"]
        if "error" in answer:
            raise ValueError(f"{module} cannot be loaded: {answer['error']}")
        with self._lock:
            code = StepCode(**answer)
            if self._process is process:
                self._loaded[module] = code
            return code

    def run(self, folder: Path, on_wait: Callable[[], None]) -> Ended:
        """Run the job in `folder/job.json` to its end. `on_wait` is called about three times a second."""
        with self._lock:
            process = self._started()
            job = str(next(self._numbers))
            self._send(process, {"job": job, "folder": str(folder)})
        try:
            answer = self._answer(process, job, on_wait)
        except BaseException:  # cancelled, interrupted: the training must not go on behind our back
            with self._lock:
                if process.poll() is None:
                    self._send(process, {"stop": job})
            raise
        return Ended(answer["ended"], answer["processor_seconds"])

    def _answer(self, process: "subprocess.Popen[bytes]", number: str, on_wait: Callable[[], None]) -> dict[str, Any]:
        while True:
            with self._changed:
                if number in self._answers:
                    return self._answers.pop(number)
                if self._stopped:
                    raise KeyboardInterrupt("stopped together with its flow")
                if process.poll() is not None:
                    raise WorkerDiedError(
                        f"the worker process ended with code {process.returncode}; the same command goes on from "
                        f"the last checkpoint. {self._last_words()}".rstrip()
                    )
                self._changed.wait(0.3)
            on_wait()

    def stop(self) -> None:
        """End every job, and take no other; whoever waits for one gets the KeyboardInterrupt that only
        the main thread saw."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def is_stopped(self) -> bool:
        """Whether its flow is to end."""
        return self._stopped

    def close(self) -> None:
        """End the worker and every job in it."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            environment = {
                **os.environ,
                "TOKENIZERS_PARALLELISM": "false",
                "HF_HUB_OFFLINE": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "TRANSFORMERS_VERBOSITY": "error",
            }
            # asked for GPUs in the usual way, the driver would serve no process that is forked afterwards
            environment.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
            environment.setdefault("OMP_NUM_THREADS", "1")  # each trainer sets its own number of threads
            # A thread that waits for another spins this long. The default is the best where every thread has a core of
            # its own, and makes two threads seven times as slow as one where they do not; this costs little in both.
            environment.setdefault("GOMP_SPINCOUNT", "10000")
            # glibc gives what is freed back to the system and asks for it again with the next tensor, page by page.
            environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
            environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
            self._loaded = {}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.engine.worker", *self.preload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=True,
            )
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-2000:].decode(errors="replace").strip()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            raise WorkerDiedError("the worker process has no output to listen to")
        for line in process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "job" in message:
                with self._changed:
                    self._answers[message["job"]] = message
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @staticmethod
    def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        if process.stdin is None:
            raise WorkerDiedError("the worker process takes no jobs")
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
