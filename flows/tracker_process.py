"""The process between one step and its trackers: reads from standard input what to set up, then a point a line.

What a tracker raises ends that tracker alone, with one line on standard output.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO


class Tracking:
    """The trackers of one step that still work."""

    def __init__(self, job: dict[str, Any], told: TextIO) -> None:
        self._told = told
        self._alive: dict[str, Any] = {}
        self._step = 1  # where the numbers of the whole run are shown: W&B takes no step before its last one
        for name in job["trackers"]:
            self._try(name, partial(self._open, name, job))

    def log(self, name: str, value: float, step: int) -> None:
        """One point."""
        self._step = max(self._step, step)
        for each, tracker in list(self._alive.items()):
            self._try(each, partial(tracker.log, {name: value}, step=step or self._step))

    def finish(self) -> None:
        """The end of the step."""
        for each, tracker in list(self._alive.items()):
            self._try(each, tracker.finish)

    def _open(self, name: str, job: dict[str, Any]) -> None:
        from accelerate import PartialState, tracking

        PartialState(cpu=True)  # those of trackio and W&B log by it before they make one
        folder, title, project = Path(job["folder"]), job["name"], job["project"]
        tracker: Any
        if name == "tensorboard":
            tracker = tracking.TensorBoardTracker(title.replace(" ", "/"), folder / name)
        elif name == "trackio":
            tracker = tracking.TrackioTracker(project, name=title)
        elif name == "wandb":
            tracker = tracking.WandBTracker(project, name=title, dir=str(folder))
        else:
            os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            tracker = tracking.MLflowTracker(project, str(folder / name), run_name=title)
        tracker.start()
        if name == "tensorboard":  # its own way would open a second writer for every configuration
            tracker.writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in job["config"].items()))
        else:
            tracker.store_init_configuration(job["config"])
        self._alive[name] = tracker

    def _try(self, name: str, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # a library of somebody else may raise anything; the step goes on without it
            self._alive.pop(name, None)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._told.write(f"tracker {name} was left behind: {text[:300]}\n")
            self._told.flush()


def main() -> None:
    """Until standard input ends."""
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(2, 1)  # libraries print what they like
        tracking = Tracking(json.loads(sys.stdin.readline()), told)
        for line in sys.stdin:
            tracking.log(*json.loads(line))
        tracking.finish()


if __name__ == "__main__":
    main()
