"""A Ray cluster as a flow or a step sees it: processes of ours that Ray's workers start, and what becomes of them."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from data_store.errors import InputError
from tasks.engine.on_ray import driver

OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_SECONDS_TO_KNOCK = 5.0
_SECONDS_TO_JOIN = 90.0
_SECONDS_TO_LEAVE = 10.0


@dataclass(frozen=True)
class Needs:
    """What Ray must have free on a node: processors, GPUs (parts of one, too) and bytes of memory."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Told:
    """What was last heard of a task: its state, in Prefect's words, and why; `answer`: what its process has said, which
    is to be read as what a stranger says."""

    state: str
    message: str
    answer: Any = None


class Cluster:
    """Tasks on the cluster at an address, by a driver of Ray that lives in a process of its own: for as long as this is
    open, and no longer than the process that opened it. Threads may share it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._process: subprocess.Popen[str] | None = None
        self._told: dict[str, Told] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the driver)

    def start(self) -> None:
        """Join the cluster. Raises InputError, with the address, where that cannot be done."""
        with self._lock:
            self._started()

    def begin(
        self,
        name: str,
        module: str,
        told: Any,
        needs: Needs,
        *,
        stays: bool = False,
        group: tuple[str, int, int] | None = None,
    ) -> str:
        """Have `python -m MODULE` started by a worker, and hand it `told`; gives what its state is asked by. With
        `stays` that process is there for the worker's next task, too. `group`: its name, the task's number in it, and
        how many there are: they begin when there is room for all, each on a node of its own. Raises InputError where
        the cluster cannot be reached."""
        task = uuid.uuid4().hex
        asked = {"task": task, "name": name, "module": module, "told": told, "stays": stays, "group": group}
        asked |= vars(needs)
        with self._lock:
            process = self._started()
            self._told[task] = Told("SCHEDULED", "")
            self._ask(process, asked)
        return task

    def told(self, task: str) -> Told:
        """What was last heard of it."""
        with self._lock:
            return self._told[task]

    def wait(self, seconds: float) -> None:
        """Until something is heard, or so long."""
        with self._changed:
            self._changed.wait(seconds)

    def end(self, task: str) -> None:
        """Nobody needs it any more: where it is at work, it ends at once."""
        with self._lock:
            if self._process is not None and self._told[task].state not in OVER:
                self._ask(self._process, {"end": task})

    def close(self) -> None:
        """Leave the cluster; what is at work there ends."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _started(self) -> "subprocess.Popen[str]":
        """The driver, after it has joined."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._knock()
        process = subprocess.Popen(
            [sys.executable, "-P", driver.__file__, str(os.getpid()), self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"},
            start_new_session=True,
        )
        limit = threading.Timer(_SECONDS_TO_JOIN, process.kill)
        limit.start()
        said = json.loads((process.stdout and process.stdout.readline()) or "{}")
        limit.cancel()
        if "ready" not in said:
            process.kill()
            process.wait()
            raise InputError(
                f"Ray at {self.address} lets nobody join: {said.get('error') or self._last_words()}. This machine must "
                "be a node of it (`ray start --address`, with --num-cpus 0 where it shall do nothing), with the same "
                "Ray and Python"
            )
        self._process = process
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _knock(self) -> None:
        """Raises InputError where nothing answers: Ray itself would try for a minute."""
        if find_spec("ray") is None:
            raise InputError(f"Ray at {self.address}: Ray is not installed here: pip install 'halter[ray]'")
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_KNOCK).close()
        except OSError as error:
            raise InputError(
                f"Ray at {self.address} cannot be reached: {error.strerror or error}. Start it there, or give the "
                "address that `ray start --head` has told"
            ) from None

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            said = json.loads(line)
            with self._changed:
                if self._told[said["task"]].state not in OVER:
                    self._told[said["task"]] = Told(said["state"], said["message"], said.get("answer"))
                self._changed.notify_all()
        gone = Told(
            "CRASHED", f"the process that speaks with Ray at {self.address} is gone. {self._last_words()}".strip()
        )
        with self._changed:
            self._told |= {task: gone for task, told in self._told.items() if told.state not in OVER}
            self._changed.notify_all()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-1000:].decode(errors="replace").strip()

    @staticmethod
    def _ask(process: "subprocess.Popen[str]", what: Any) -> None:
        if process.stdin is None:
            raise AssertionError("it was opened with one")
        with suppress(BrokenPipeError):  # it has just ended, and whoever waits hears so
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()


class Clusters:
    """Those that a flow has joined."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Cluster] = {}

    def at(self, address: str) -> Cluster:
        """The one at an address; it is joined when it is first needed."""
        with self._lock:
            return self._open.setdefault(address, Cluster(address))

    def close(self) -> None:
        """Leave all."""
        for cluster in self._open.values():
            cluster.close()
