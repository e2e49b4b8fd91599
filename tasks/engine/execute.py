"""The one place where steps are run: look the fingerprint up, else compute in a process of its own and publish
atomically.

1. Inputs become version ids. 2. The fingerprint covers step, version, part, config, seed and input ids. 3. A finished
run with this fingerprint is taken up again: its outputs become the heads. 4. Else the step runs in a folder named by
its fingerprint, so that a training that was cut off finds its checkpoints; what it made is published, then run, edges
and metrics go in with one transaction.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from data_store.estimate import Estimate
from data_store.names import AssetName, one_name
from data_store.records import PROCESSOR_SECONDS, Head, Metric, RunInput, RunOutput, RunRecord
from data_store.store import Store
from tasks.engine.call import StepCall, readings
from tasks.engine.code import code_version
from tasks.engine.code_today import CodeToday
from tasks.engine.jobs import CurvesFile, StepFailedError, run_in_worker
from tasks.engine.meter import NO_METER, Meter
from tasks.engine.processes import Ended, StepCode, Workers
from tasks.engine.reading import Progress, Wait
from tasks.engine.step import NOTES

Points = Callable[[RunRecord, Sequence[Metric]], None]


@dataclass(frozen=True)
class FlowIds:
    """Which Prefect runs a step belongs to."""

    flow_run: str | None = None
    task_run: str | None = None
    root_flow_run: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a step call: `cached` where nothing was computed. `edited`: those of its source files that
    are no longer on the disk as they were loaded and recorded. `notes`: what a person should know of it."""

    run_id: str
    cached: bool
    outputs: Mapping[str, tuple[AssetName, str]]
    inputs: tuple[RunInput, ...]
    metrics: Mapping[str, float]
    seconds: float
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: Sequence[Metric] = ()
    edited: Sequence[str] = ()
    notes: Sequence[str] = ()


def resolve_inputs(store: Store, call: StepCall) -> tuple[RunInput, ...]:
    """The versions that the call reads now. Raises InputError naming what is missing."""
    return tuple(each.resolve(at) for each, at in readings(store, store.heads(), call))


def prepare(store: Store, call: StepCall, on_progress: Progress = lambda _fraction, _text: None) -> Wait | None:
    """What must happen before the call can read what comes from outside. Gives what it has to wait for. Raises
    InputError and StepFailedError, as what is read says."""
    waits = [each.prepare(at, on_progress) for each, at in readings(store, store.heads(), call)]
    return next(filter(None, waits), None)


def check_inputs(store: Store | None, heads: Mapping[AssetName, Head], calls: Iterable[StepCall]) -> None:
    """Look what will be missing when the calls come to be run. Raises InputError that names it."""
    for call in calls:
        for each in chain.from_iterable(call.inputs.values()):
            each.check(store, heads, call.part)


def adopt_inputs(store: Store, call: StepCall) -> None:
    """Copy what the call reads of other runs into this store. Raises InputError naming what is missing."""
    for each, at in readings(store, {}, call):
        if each.is_of_another_run:
            each.resolve(at)


def fingerprint_of(call: StepCall, inputs: tuple[RunInput, ...]) -> str:
    """The call's fingerprint with these inputs."""
    by_role: dict[str, tuple[str, ...]] = {}
    for entry in inputs:
        by_role[entry.role] = (*by_role.get(entry.role, ()), entry.version_id)
    return call.fingerprint(by_role)


def execute(
    store: Store,
    workers: Workers,
    call: StepCall,
    *,
    force: bool = False,
    ids: FlowIds | None = None,
    on_progress: Progress = lambda _fraction, _text: None,
    on_points: Points = lambda _record, _points: None,
    meter: Meter = NO_METER,
) -> Outcome:
    """Bring the outputs of one step call up to date. `force` computes even where a finished run is there. `on_points`
    hears of the points of curves while they come, and at the end of the numbers of the whole run, as step 0. `meter`:
    who measures what is drawn meanwhile.

    Raises InputError for inputs that are missing or that the step refuses, StepFailedError for everything else that
    goes wrong in it.
    """
    started = time.monotonic()
    inputs = resolve_inputs(store, call)
    fingerprint = fingerprint_of(call, inputs)
    folder = _folder(store, fingerprint)
    with _alone(store, folder, on_progress):
        with store.one_state():
            finished = None if force else store.find_finished(fingerprint)
            same_step = [] if finished else store.runs(step=call.step.name, part=call.part)
        if finished is not None:
            heads = dict(finished.outputs.values())
            store.move_heads(finished.run_id, heads, "taken up again by its fingerprint", inputs)
            points = [metric for metric in finished.metrics if metric.step == 0]
            return Outcome(
                finished.run_id,
                True,
                finished.outputs,
                inputs,
                _values(points),
                time.monotonic() - started,
                _estimates(points),
            )
        attempts = [run for run in same_step if run.run.fingerprint == fingerprint]
        for run in attempts:
            if run.state == "running":  # we hold the step's lock, on all machines, so its process is gone
                store.finish_run(run.run.run_id, "crashed", "the process ended without a word")
        code = _code(workers, call)
        record = _record(call, fingerprint, len(attempts) + 1, ids or FlowIds(), code)
        return _compute(store, workers, call, inputs, code, record, folder, on_progress, on_points, meter, started)


def _code(workers: Workers, call: StepCall) -> StepCode:
    """What the worker has loaded as the step's code. Raises StepFailedError where it cannot be loaded."""
    try:
        return workers.code(call.step.module)
    except ValueError as error:
        raise StepFailedError(f"{call.step.name} of {call.part}: {error}") from None


def _record(call: StepCall, fingerprint: str, attempt: int, ids: FlowIds, code: StepCode) -> RunRecord:
    return RunRecord(
        step=call.step.name,
        part=call.part,
        fingerprint=fingerprint,
        code_version=code_version(code.files),
        config=call.recipe(),
        seed=call.seed,
        attempt=attempt,
        git_commit=code.git_commit,
        git_dirty=code.git_dirty,
        code_files=code.files,
        env=code.env,
        prefect_flow_run_id=ids.flow_run,
        prefect_task_run_id=ids.task_run,
        prefect_root_flow_run_id=ids.root_flow_run,
    )


def _compute(
    store: Store,
    workers: Workers,
    call: StepCall,
    inputs: tuple[RunInput, ...],
    code: StepCode,
    record: RunRecord,
    folder: Path,
    on_progress: Progress,
    on_points: Points,
    meter: Meter,
    started: float,
) -> Outcome:
    spent: float | None = None

    def on_end(ended: Ended) -> None:
        nonlocal spent
        spent = ended.processor_seconds

    store.begin_run(record, [entry.version_id for entry in inputs])
    try:
        meter.begin(record.run_id)
        measured = run_in_worker(
            store, workers, call, inputs, code, folder, on_progress, lambda points: on_points(record, points), on_end
        )
        forgotten = [role for role in call.outputs if not any((folder / "out" / role).glob("*"))]
        if forgotten:  # the old heads would stay, and look as if this run had made them
            raise StepFailedError(
                f"{call.step.name} of {call.part} wrote nothing for its outputs: {', '.join(forgotten)}"
            )
        outputs = {
            role: RunOutput(
                asset,
                store.publish(asset.kind, folder / "out" / role, row_kind=call.step.outputs[role].rows, consume=True),
            )
            for role, asset in call.outputs.items()
        }
        seconds = time.monotonic() - started
        curves = _curves(folder / "metrics.jsonl")
        points = [*measured, Metric("seconds", seconds)]
        if spent is not None:
            points.append(Metric(PROCESSOR_SECONDS, spent))
        points += meter.end(record.run_id)
        store.commit_run(record, inputs, outputs, [*curves, *points])
        on_points(record, points)
    except BaseException as error:
        cancelled = isinstance(error, KeyboardInterrupt) or type(error).__name__ in (
            "CancelledError",
            "TerminationSignal",
        )
        store.finish_run(record.run_id, "cancelled" if cancelled else "failed", str(error)[:2000], spent)
        meter.end(record.run_id)
        raise
    noted = folder / NOTES
    notes = tuple(map(json.loads, noted.read_text().splitlines())) if noted.exists() else ()
    tables = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "tables").glob("*.json"))}
    shutil.rmtree(folder, ignore_errors=True)
    made = {role: (output.asset, output.publication.version_id) for role, output in outputs.items()}
    edited = CodeToday().differs(code.files)
    return Outcome(
        record.run_id,
        False,
        made,
        inputs,
        _values(points),
        seconds,
        _estimates(points),
        tables,
        curves,
        edited,
        notes,
    )


def _values(points: Iterable[Metric]) -> dict[str, float]:
    return {point.name: point.value for point in points}


def _estimates(points: Iterable[Metric]) -> dict[str, Estimate]:
    return {point.name: found for point in points if (found := point.estimate) is not None}


def is_at_work(store: Store, fingerprint: str) -> bool:
    """Whether some process is computing this fingerprint now, on whichever machine of the store."""
    folder = _folder(store, fingerprint)
    return _is_locked(folder) or store.catalog.journal.others.is_held(folder.name)


def _is_locked(folder: Path) -> bool:
    """Whether a process of this machine works in the folder."""
    try:
        lock = os.open(folder.with_suffix(".lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _folder(store: Store, fingerprint: str) -> Path:
    """Where a step of this fingerprint works."""
    return store.root / "work" / one_name(fingerprint)[:32]


def _curves(path: Path) -> list[Metric]:
    """The points of every attempt, the last one of each name and step."""
    return list({(point.name, point.step): point for point in CurvesFile(path).new_points()}.values())


@contextmanager
def _alone(store: Store, folder: Path, on_progress: Progress) -> Iterator[None]:
    """Only one process of all machines works on a fingerprint; a second one waits for the first and then finds its
    result."""
    lock = _locked(folder, on_progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told = partial(on_progress, 0.0, "another machine is working on the same step; waiting for its result")
        with store.catalog.journal.others.alone(folder.name, told):
            yield
    finally:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
        os.close(lock)


def _locked(folder: Path, on_progress: Progress) -> int:
    """The descriptor of the folder's lock, held; of the file that lies there now, since `halter gc` takes old ones."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".lock")
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_progress(0.0, "another run is working on the same step; waiting for its result")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
