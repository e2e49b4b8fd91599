"""The flow's side of a step at work: lay its folder out for the process that runs it, watch, read what came of it."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.records import Metric, Publication, RunInput
from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.outside_files import OutsideFiles
from tasks.engine.processes import Ended, StepCode, Workers
from tasks.engine.reading import Progress
from tasks.engine.step import NOTES

if TYPE_CHECKING:
    from tasks.engine.on_ray.shards import ShardsTold


class StepFailedError(RuntimeError):
    """A step ended without a result; the message is its own, the log has the rest."""


class StepDiedError(StepFailedError):
    """Its process, or one that trains for it, ended without a result."""


class Beside(Protocol):
    """What has to be seen to while a step runs: `look` is called about three times a second, `check` at the end."""

    def look(self) -> None:
        """Raises what is to end the step."""

    def check(self) -> None:
        """The same, once more."""

    def named(self, text: str) -> str:
        """A message of the step, in the words of whoever started it."""


def run_whole(
    workers: Workers,
    job: Mapping[str, Any],
    folder: Path,
    what: str,
    beside: Beside,
    on_progress: Progress,
    on_points: Callable[[Sequence[Metric]], None],
    on_end: Callable[[Ended], None],
) -> list[Metric]:
    """Have the worker do a job whose inputs lie where it says, in its folder; gives the metrics. The outputs lie in
    `folder/out`. `on_points` hears of the points of its curves while they come, `on_end` what it cost, whether or not
    anything came of it.

    Raises InputError for what the step refuses and for a source that changes while it reads it, StepFailedError for
    everything else that goes wrong in it.
    """
    for name in ("out", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("result.json", "progress.json", NOTES):
        (folder / name).unlink(missing_ok=True)
    last = ""
    curves = CurvesFile(folder / "metrics.jsonl")
    atomic_write(folder / "job.json", json.dumps(job))

    def look() -> None:
        nonlocal last
        beside.look()
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
    beside.check()
    if points := curves.new_points():
        on_points(points)
    try:
        result = json.loads((folder / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        tail = "\n".join(lines_of(folder / "log.txt")[-5:])
        raise StepDiedError(f"{what} ended with code {ended.code} and no result. {tail}") from None
    if "error" in result:
        error = f"{what}: {beside.named(result['error'])}"
        if result["kind"] == "input":
            raise InputError(error)
        if result["kind"] == "died":
            raise StepDiedError(error)
        raise StepFailedError(f"{error} (log: {folder / 'log.txt'})")
    return [Metric(**metric) for metric in result["metrics"]]


class Doing(Protocol):
    """A step that is being done, here or elsewhere."""

    def run(self, on_points: Callable[[Sequence[Metric]], None], on_end: Callable[[Ended], None]) -> list[Metric]:
        """Until its end; gives the metrics. Its notes and tables lie in its folder then."""

    def outputs(self) -> Mapping[str, Publication]:
        """What it made, by role, as content of the store."""


class Here:
    """A step that the worker of this process does."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        call: StepCall,
        inputs: Sequence[RunInput],
        code: StepCode,
        folder: Path,
        on_progress: Progress,
        shards: "ShardsTold | None" = None,
    ) -> None:
        self._store, self._workers, self._call, self._inputs = store, workers, call, inputs
        self._code, self._folder, self._on_progress, self._shards = code, folder, on_progress, shards

    def run(self, on_points: Callable[[Sequence[Metric]], None], on_end: Callable[[Ended], None]) -> list[Metric]:
        """As `run_whole`."""
        store, call = self._store, self._call
        with OutsideFiles(call, self._inputs, self._folder) as outside:
            paths = _paths(store, self._inputs, outside)
            listed: dict[str, list[dict[str, str]]] = {}
            for entry in self._inputs:
                place = {"asset": str(entry.asset), "version_id": entry.version_id, "path": str(paths[entry])}
                listed.setdefault(entry.role, []).append(place)
            told = None if self._shards is None else self._shards.reading(store, call, self._inputs)
            job = job_of(store.root.name, call, self._code, told) | {"inputs": listed}
            what = f"{call.step.name} of {call.part}"
            return run_whole(self._workers, job, self._folder, what, outside, self._on_progress, on_points, on_end)

    def outputs(self) -> Mapping[str, Publication]:
        """Published. Raises StepFailedError for what the step did not write."""
        call, out = self._call, self._folder / "out"
        check_written(f"{call.step.name} of {call.part}", call.outputs, out)
        return {
            role: self._store.publish(asset.kind, out / role, row_kind=call.step.outputs[role].rows, consume=True)
            for role, asset in call.outputs.items()
        }


def check_written(what: str, roles: Iterable[str], out: Path) -> None:
    """Raises StepFailedError for outputs that the step did not write: the old heads would stay, and look as if this run
    had made them."""
    if forgotten := [role for role in roles if not any((out / role).glob("*"))]:
        raise StepFailedError(f"{what} wrote nothing for its outputs: {', '.join(forgotten)}")


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


def job_of(run: str, call: StepCall, code: StepCode, shards: "ShardsTold | None" = None) -> dict[str, Any]:
    """What the step's process is told, but for the places of its inputs. `run` is the name of the run, `shards` where
    those of the step are done, where it is elsewhere."""
    config = call.config.model_dump(mode="json")
    return {
        "module": call.step.module,
        "function": call.step.function.__name__,
        "version": call.step.version,
        "code": dict(code.files),
        "run": run,
        "part": call.part,
        "seed": call.seed,
        "config": config,
        "understood": call.step.config.model_validate(config).model_dump(mode="json"),
        "withdrawn": call.withdrawn,
        "among": None,
        "shards": None if shards is None else shards.model_dump(mode="json"),
        "processes": call.processes,
        "vllm": None if call.vllm is None else call.vllm.model_dump(mode="json"),
        "outputs": {
            role: {"kind": output.kind, "rows": output.rows}
            for role, output in call.step.outputs.items()
            if role in call.outputs
        },
    }
