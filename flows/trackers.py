"""The config's `trackers`: what steps report goes to TensorBoard, trackio, W&B or MLflow as well, while they run.

A tracker is somebody else's library, which may be slow, talk to a network or fail. It runs in a process of its own for
each step, hears of points through a queue with a bound, and is left behind where it does not keep up: the store has all
points, and no step fails or waits for it longer than `_SECONDS_TO_END`.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data_store.errors import InputError
from data_store.figures import figure, seconds
from data_store.records import Metric, RunRecord
from flows.recipe.watch_config import TrackerName

FOLDER = "trackers"  # beside the store's own folders
_MOST_WAITING = 10_000  # points
_SECONDS_TO_END = 60.0  # of mlflow's first use half is gone on making its database


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raises InputError for a tracker whose package is not installed here."""
    for name in names:
        if find_spec(name) is None:  # packages and trackers have the same names
            raise InputError(f"trackers: {name} is not installed here: `pip install {name}`, or take it out")


class Trackers:
    """Those of one run. `root` is the folder of its store."""

    def __init__(self, names: Sequence[TrackerName], project: str, root: Path) -> None:
        self.names, self.project, self.folder = tuple(names), project, root / FOLDER

    def follow(self) -> "Followed":
        """One step, for as long as the block lasts."""
        return Followed(self)


class Followed:
    """What one step reports, on its way to the trackers. `problems` are for people, complete after the block."""

    def __init__(self, trackers: Trackers) -> None:
        self.trackers = trackers
        self.problems: list[str] = []
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._lost = 0
        self._process: subprocess.Popen[bytes] | None = None

    def points(self, record: RunRecord, points: Sequence[Metric]) -> None:
        """Pass points on; never waits. Those with step 0 are of the whole run."""
        if not self.trackers.names:
            return
        if self._process is None:
            self._process = self._started(record)
        for point in points:
            try:
                self._waiting.put_nowait(_line([point.name, point.value, point.step]))
            except queue.Full:
                self._lost += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        try:
            self._waiting.put(None, timeout=_SECONDS_TO_END)
            told, _ = process.communicate(timeout=_SECONDS_TO_END)
        except (queue.Full, subprocess.TimeoutExpired):
            process.kill()
            told, _ = process.communicate()
            self.problems.append(f"trackers did not end within {seconds(_SECONDS_TO_END)} and were stopped")
        self.problems += told.decode(errors="replace").splitlines()
        if self._lost:
            self.problems.append(f"trackers were too slow for {figure(self._lost)} points, which the store alone has")

    def _started(self, record: RunRecord) -> subprocess.Popen[bytes]:
        trackers = self.trackers
        trackers.folder.mkdir(parents=True, exist_ok=True)
        job = {
            "trackers": trackers.names,
            "project": trackers.project,
            "name": f"{record.part} {record.step} {record.run_id[:8]}",
            "folder": str(trackers.folder),
            "config": dict(_flat(record.config.get("config", {}))),
        }
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.tracker_process"],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"WANDB_MODE": "offline", "TRACKIO_DIR": str(trackers.folder / "trackio"), **os.environ},
            start_new_session=True,  # Ctrl-C is for the step; what it reported before is still passed on
        )
        os.close(reading)
        threading.Thread(target=self._write, args=(writing, _line(job)), daemon=True).start()
        return process

    def _write(self, pipe: int, line: bytes | None) -> None:
        try:
            with open(pipe, "wb", buffering=0) as file:
                while line is not None:
                    file.write(line)
                    line = self._waiting.get()
        except OSError:  # it ended before it was told to; its exit tells why
            pass


def _line(content: object) -> bytes:
    return json.dumps(content, default=str).encode() + b"\n"


def _flat(content: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Keys with dots, values that every tracker takes."""
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value if isinstance(value, bool | int | float | str) else json.dumps(value)))
    return found
