"""The one place where steps are run: look the fingerprint up, else compute in a process of its own and publish
atomically.

1. Inputs become version ids. 2. The fingerprint covers step, version, part, config, seed and input ids. 3. A finished
run with this fingerprint is taken up again: its outputs become the heads. 4. Else the step runs in a folder named by
its fingerprint, so that a training that was cut off finds its checkpoints; what it made is published, then run, edges
and metrics go in with one transaction.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.errors import StoreError
from data_store.estimate import Estimate
from data_store.names import AssetName
from data_store.records import PROCESSOR_SECONDS, EndState, Head, Metric, RunInput, RunOutput, RunRecord
from data_store.store import Store
from tasks.engine.alone import alone, folder_of
from tasks.engine.call import StepCall, readings
from tasks.engine.code import code_version
from tasks.engine.code_today import CodeToday
from tasks.engine.jobs import CurvesFile, Doing, Here, StepFailedError
from tasks.engine.meter import NO_METER, Meter
from tasks.engine.processes import Ended, StepCode, Workers
from tasks.engine.reading import Progress, Wait
from tasks.engine.remote.dispatch import Dispatch, StepLostError
from tasks.engine.remote.sent import Sent, bucket_of
from tasks.engine.step import NOTES

if TYPE_CHECKING:
    from tasks.engine.on_ray.shards import ShardsTold

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
    dispatch: Dispatch | None = None,
    shards: "ShardsTold | None" = None,
) -> Outcome:
    """Bring the outputs of one step call up to date. `force` computes even where a finished run is there. `on_points`
    hears of the points of curves while they come, and at the end of the numbers of the whole run, as step 0. `meter`:
    who measures what is drawn meanwhile. `dispatch`: how it is sent to another machine, where it is to be done on one;
    `shards`: where those of its drawing and scoring are done, where that is elsewhere.

    Raises InputError for inputs that are missing or that the step refuses, StepFailedError for everything else that
    goes wrong in it.
    """
    started = time.monotonic()
    inputs = resolve_inputs(store, call)
    fingerprint = fingerprint_of(call, inputs)
    folder = folder_of(store, fingerprint)
    with alone(store, folder, on_progress):
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
        code, ids, attempt = _code(workers, call), ids or FlowIds(), len(attempts) + 1
        at = _Work(store, call, inputs, fingerprint, folder, ids, on_points, started, shards)
        if dispatch is not None:
            return _send(at, workers, code, attempt, dispatch, on_progress)
        here = Here(store, workers, call, inputs, code, folder, on_progress, shards)
        return _compute(at, _record(call, fingerprint, attempt, ids, code), here, meter)


@dataclass(frozen=True)
class _Work:
    """A call that is to be computed, and where."""

    store: Store
    call: StepCall
    inputs: tuple[RunInput, ...]
    fingerprint: str
    folder: Path
    ids: FlowIds
    on_points: Points
    started: float
    shards: "ShardsTold | None"


def _send(
    at: _Work, workers: Workers, code: StepCode, attempt: int, dispatch: Dispatch, on_progress: Progress
) -> Outcome:
    """Have it computed elsewhere; sent again where the machine or the process that did it is gone."""
    for left in reversed(range(dispatch.attempts)):
        with Sent(at.store, at.call, at.folder, dispatch, workers.is_stopped, on_progress, at.shards) as sent:
            try:
                begun = sent.begin(at.inputs, code)
                record = replace(_record(at.call, at.fingerprint, attempt, at.ids, begun.loaded), host=begun.host)
                attempt += 1
                return _compute(at, record, sent, NO_METER)
            except StepLostError as error:
                if not left:
                    raise
                on_progress(0.0, f"{error}; sending it again")
    raise AssertionError("the last attempt returns or raises")


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


def _compute(at: _Work, record: RunRecord, doing: Doing, meter: Meter) -> Outcome:
    store, call, inputs, folder = at.store, at.call, at.inputs, at.folder
    spent: float | None = None

    def on_end(ended: Ended) -> None:
        nonlocal spent
        spent = ended.processor_seconds

    store.begin_run(record, [entry.version_id for entry in inputs])
    try:
        meter.begin(record.run_id)
        measured = doing.run(lambda points: at.on_points(record, points), on_end)
        outputs = {role: RunOutput(call.outputs[role], made) for role, made in doing.outputs().items()}
        seconds = time.monotonic() - at.started
        curves = _curves(folder / "metrics.jsonl")
        points = [*measured, Metric("seconds", seconds)]
        if spent is not None:
            points.append(Metric(PROCESSOR_SECONDS, spent))
        points += meter.end(record.run_id)
        store.commit_run(record, inputs, outputs, [*curves, *points])
        if at.shards is not None:
            forget_shards(store, folder)
        at.on_points(record, points)
    except BaseException as error:
        cancelled = isinstance(error, KeyboardInterrupt) or type(error).__name__ in (
            "CancelledError",
            "TerminationSignal",
        )
        state: EndState = "crashed" if isinstance(error, StepLostError) else "cancelled" if cancelled else "failed"
        store.finish_run(record.run_id, state, str(error)[:2000], spent)
        meter.end(record.run_id)
        raise
    noted = folder / NOTES
    notes = tuple(map(json.loads, noted.read_text().splitlines())) if noted.exists() else ()
    tables = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "tables").glob("*.json"))}
    shutil.rmtree(folder, ignore_errors=True)
    made = {role: (output.asset, output.publication.version_id) for role, output in outputs.items()}
    edited = CodeToday().differs(record.code_files)
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


def forget_shards(store: Store, folder: Path) -> None:
    """What its workers have put for a step that is committed; what cannot be removed now the collector takes."""
    with suppress(StoreError):
        bucket = bucket_of(store).bucket
        bucket.delete([key for key, _ in bucket.listed(f"shards/{folder.name}/")])


def _values(points: Iterable[Metric]) -> dict[str, float]:
    return {point.name: point.value for point in points}


def _estimates(points: Iterable[Metric]) -> dict[str, Estimate]:
    return {point.name: found for point in points if (found := point.estimate) is not None}


def _curves(path: Path) -> list[Metric]:
    """The points of every attempt, the last one of each name and step."""
    return list({(point.name, point.step): point for point in CurvesFile(path).new_points()}.values())
