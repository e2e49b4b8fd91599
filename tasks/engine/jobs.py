"""The flow's side of a step at work: lay its folder out for the process that runs it, watch, read what came of it."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.records import Metric, RunInput
from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.outside_files import OutsideFiles
from tasks.engine.processes import Ended, StepCode, Workers
from tasks.engine.reading import Progress
from tasks.engine.step import NOTES


class StepFailedError(RuntimeError):
    """A step ended without a result; the message is its own, the log has the rest."""


def run_in_worker(
    store: Store,
    workers: Workers,
    call: StepCall,
    inputs: Sequence[RunInput],
    code: StepCode,
    folder: Path,
    on_progress: Progress,
    on_points: Callable[[Sequence[Metric]], None],
    on_end: Callable[[Ended], None],
) -> list[Metric]:
    """Have the worker run a step in its folder; gives the metrics. The outputs lie in `folder/out`. `on_points` hears
    of the points of its curves while they come, `on_end` what it cost, whether or not anything came of it.

    Raises InputError for what the step refuses and for a source that changes while it reads it, StepFailedError for
    everything else that goes wrong in it.
    """
    for name in ("out", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("result.json", "progress.json", NOTES):
        (folder / name).unlink(missing_ok=True)
    last = ""
    curves = CurvesFile(folder / "metrics.jsonl")
    with OutsideFiles(call, inputs, folder) as outside:
        paths = _paths(store, inputs, outside)
        atomic_write(folder / "job.json", json.dumps(_job(store, call, inputs, paths, code)))

        def look() -> None:
            nonlocal last
            outside.look()
            if points := curves.new_points():
                on_points(points)
            try:
                text = (folder / "progress.json").read_text()
            except FileNotFoundError:
                return
            if text != last:
                last = text
                report = json.loads(text)
                on_progress(report["fraction"], report["text"])

        ended = workers.run(folder, look)
        on_end(ended)
        outside.check()
    if points := curves.new_points():
        on_points(points)
    try:
        result = json.loads((folder / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        tail = "\n".join(lines_of(folder / "log.txt")[-5:])
        raise StepFailedError(
            f"{call.step.name} of {call.part} ended with code {ended.code} and no result. {tail}"
        ) from None
    if "error" in result:
        error = f"{call.step.name} of {call.part}: {outside.named(result['error'])}"
        if result["kind"] == "input":
            raise InputError(error)
        raise StepFailedError(f"{error} (log: {folder / 'log.txt'})")
    return [Metric(**metric) for metric in result["metrics"]]


class CurvesFile:
    """The points that a step has written so far, over all attempts. A line that a kill cut short is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def new_points(self) -> list[Metric]:
        """Those of lines that were completed since it was asked last."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        points = []
        for line in whole.splitlines():
            try:
                points.append(Metric(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return points


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, none where there is no file."""
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _paths(store: Store, inputs: Sequence[RunInput], outside: OutsideFiles) -> dict[RunInput, Path]:
    """Where each input is read."""
    with store.one_state():  # one opening of the catalog for all
        versions = {entry: store.version(entry.version_id) for entry in inputs if outside.path(entry) is None}
    return {entry: outside.path(entry) or store.checkout(versions[entry]) for entry in inputs}


def _job(
    store: Store, call: StepCall, inputs: Sequence[RunInput], paths: dict[RunInput, Path], code: StepCode
) -> dict[str, Any]:
    listed: dict[str, list[dict[str, str]]] = {}
    for entry in inputs:
        place = {"asset": str(entry.asset), "version_id": entry.version_id, "path": str(paths[entry])}
        listed.setdefault(entry.role, []).append(place)
    config = call.config.model_dump(mode="json")
    return {
        "module": call.step.module,
        "function": call.step.function.__name__,
        "version": call.step.version,
        "code": dict(code.files),
        "run": store.root.name,
        "part": call.part,
        "seed": call.seed,
        "config": config,
        "understood": call.step.config.model_validate(config).model_dump(mode="json"),
        "inputs": listed,
        "withdrawn": call.withdrawn,
        "outputs": {
            role: {"kind": output.kind, "rows": output.rows}
            for role, output in call.step.outputs.items()
            if role in call.outputs
        },
    }
