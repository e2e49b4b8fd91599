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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_store.adoption import adopt
from data_store.annotation.handover import batch_name, judgements_asset
from data_store.annotation.red_team_export import hand_over_attacks
from data_store.commands import halter
from data_store.errors import InputError
from data_store.files import atomic_write
from data_store.names import AssetName, slug
from data_store.records import Metric, RunInput, RunOutput, RunRecord
from data_store.store import Store
from tasks.code import code_version, environment, git_state, source_files
from tasks.processes import Workers
from tasks.step import StepCall

Progress = Callable[[float, str], None]


class StepFailedError(RuntimeError):
    """A step ended without a result; the message is its own, the log has the rest."""


@dataclass(frozen=True)
class FlowIds:
    """Which Prefect runs a step belongs to."""

    flow_run: str | None = None
    task_run: str | None = None
    root_flow_run: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a step call: `cached` where nothing was computed."""

    run_id: str
    cached: bool
    outputs: Mapping[str, tuple[AssetName, str]]
    inputs: tuple[RunInput, ...]
    metrics: Mapping[str, float]
    seconds: float
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: Sequence[Metric] = ()


def resolve_inputs(store: Store, call: StepCall) -> tuple[RunInput, ...]:
    """The heads of the call's inputs, its source files by their content, what people judged, the attacks of closed red
    teams, and what it takes from other runs.

    Raises InputError naming what is missing.
    """
    heads = store.heads()
    inputs = []
    for role, assets in call.inputs.items():
        for asset in assets:
            if asset not in heads:
                raise InputError(
                    f"{call.step.name} of {call.part} needs {asset}, which no step has made yet: run the recipe first"
                )
            inputs.append(RunInput(role, asset, heads[asset].version_id, heads[asset].run_id))
    for role, paths in call.sources.items():
        for number, path in enumerate(paths):
            head = store.register_source(path, name=source_name(role, path, number))
            inputs.append(RunInput(role, head.asset, head.version_id, None))
    for role, pairs in call.judged.items():
        judgements = judgements_asset(batch_name(call.part, heads[pairs].version_id))
        if judgements not in heads:
            raise InputError(
                f"{call.step.name} of {call.part} needs {judgements}, which people have not finished: "
                f"they judge on the page of `{halter('annotate')}`"
            )
        inputs.append(RunInput(role, judgements, heads[judgements].version_id, None))
    for role, asked in call.asked.items():
        answers = asked.answers(call.part, heads[asked.pairs].version_id)
        if answers not in heads:
            raise InputError(
                f"{call.step.name} of {call.part} needs {answers}: {asked.endpoint.model} at {asked.endpoint.url} was "
                f"not asked yet; `{halter('run', 'CONFIG')}` asks it"
            )
        inputs.append(RunInput(role, answers, heads[answers].version_id, None))
    for role, parts in call.attacked.items():
        for head in (hand_over_attacks(store, part) for part in parts):
            inputs.append(RunInput(role, head.asset, head.version_id, None))
    return (*inputs, *adopt_inputs(store, call))


def adopt_inputs(store: Store, call: StepCall) -> tuple[RunInput, ...]:
    """The call's inputs from other runs, copied into this store. Raises InputError naming what is missing."""
    heads = [(role, adopt(store, run, asset)) for role, found in call.adopted.items() for run, asset in found]
    return tuple(RunInput(role, head.asset, head.version_id, None) for role, head in heads)


def source_name(role: str, path: Path, number: int) -> str:
    """The asset name of a source: its role, place and file name."""
    return slug(f"{role}-{number + 1}-{path.name}")


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
) -> Outcome:
    """Bring the outputs of one step call up to date. `force` computes even where a finished run is there.

    Raises InputError for inputs that are missing or that the step refuses, StepFailedError for everything else that
    goes wrong in it.
    """
    started = time.monotonic()
    inputs = resolve_inputs(store, call)
    fingerprint = fingerprint_of(call, inputs)
    folder = _folder(store, fingerprint)
    with _alone(folder, on_progress):
        with store.one_state():
            finished = None if force else store.find_finished(fingerprint)
            same_step = [] if finished else store.runs(step=call.step.name, part=call.part)
        if finished is not None:
            heads = dict(finished.outputs.values())
            store.move_heads(finished.run_id, heads, "taken up again by its fingerprint", inputs)
            metrics = {metric.name: metric.value for metric in finished.metrics if metric.step == 0}
            return Outcome(finished.run_id, True, finished.outputs, inputs, metrics, time.monotonic() - started)
        attempts = [run for run in same_step if run.run.fingerprint == fingerprint]
        for run in attempts:
            if run.state == "running":  # we hold its folder's lock, so its process is gone
                store.finish_run(run.run.run_id, "crashed", "the process ended without a word")
        record = _record(call, fingerprint, len(attempts) + 1, ids or FlowIds())
        return _compute(store, workers, call, inputs, record, folder, on_progress, started)


def _record(call: StepCall, fingerprint: str, attempt: int, ids: FlowIds) -> RunRecord:
    commit, dirty = git_state()
    return RunRecord(
        step=call.step.name,
        part=call.part,
        fingerprint=fingerprint,
        code_version=code_version(call.step.module),
        config=call.recipe(),
        seed=call.seed,
        attempt=attempt,
        git_commit=commit,
        git_dirty=dirty,
        code_files=source_files(call.step.module),
        env=environment(),
        prefect_flow_run_id=ids.flow_run,
        prefect_task_run_id=ids.task_run,
        prefect_root_flow_run_id=ids.root_flow_run,
    )


def _compute(
    store: Store,
    workers: Workers,
    call: StepCall,
    inputs: tuple[RunInput, ...],
    record: RunRecord,
    folder: Path,
    on_progress: Progress,
    started: float,
) -> Outcome:
    store.begin_run(record, [entry.version_id for entry in inputs])
    try:
        metrics = _run_in_worker(store, workers, call, inputs, folder, on_progress)
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
        points = [Metric(name, value) for name, value in {**metrics, "seconds": seconds}.items()]
        store.commit_run(record, inputs, outputs, [*curves, *points])
    except BaseException as error:
        cancelled = isinstance(error, KeyboardInterrupt) or type(error).__name__ in (
            "CancelledError",
            "TerminationSignal",
        )
        store.finish_run(record.run_id, "cancelled" if cancelled else "failed", str(error)[:2000])
        raise
    tables = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "tables").glob("*.json"))}
    shutil.rmtree(folder, ignore_errors=True)
    made = {role: (output.asset, output.publication.version_id) for role, output in outputs.items()}
    return Outcome(record.run_id, False, made, inputs, {**metrics, "seconds": seconds}, seconds, tables, curves)


def _run_in_worker(
    store: Store, workers: Workers, call: StepCall, inputs: tuple[RunInput, ...], folder: Path, on_progress: Progress
) -> dict[str, float]:
    for name in ("out", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("result.json", "progress.json"):
        (folder / name).unlink(missing_ok=True)
    listed: dict[str, list[dict[str, str]]] = {}
    seen: dict[str, int] = {}
    with store.one_state():  # one opening of the catalog for all
        versions = {entry: store.version(entry.version_id) for entry in inputs if entry.role not in call.sources}
    for entry in inputs:
        if entry in versions:
            path = store.checkout(versions[entry])
        else:
            place = seen.get(entry.role, 0)
            seen[entry.role] = place + 1
            path = call.sources[entry.role][place].absolute()
        listed.setdefault(entry.role, []).append(
            {"asset": str(entry.asset), "version_id": entry.version_id, "path": str(path)}
        )
    job = {
        "module": call.step.module,
        "function": call.step.function.__name__,
        "run": store.root.name,
        "part": call.part,
        "seed": call.seed,
        "config": call.config.model_dump(mode="json"),
        "inputs": listed,
        "withdrawn": call.withdrawn,
        "outputs": {
            role: {"kind": output.kind, "rows": output.rows}
            for role, output in call.step.outputs.items()
            if role in call.outputs
        },
    }
    atomic_write(folder / "job.json", json.dumps(job))
    last = ""

    def look() -> None:
        nonlocal last
        try:
            text = (folder / "progress.json").read_text()
        except FileNotFoundError:
            return
        if text != last:
            last = text
            report = json.loads(text)
            on_progress(report["fraction"], report["text"])

    code = workers.run(folder, look)
    try:
        result = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        tail = "\n".join(_lines(folder / "log.txt")[-5:])
        raise StepFailedError(f"{call.step.name} of {call.part} ended with code {code} and no result. {tail}") from None
    if "error" in result:
        where = f"{call.step.name} of {call.part}: {result['error']}"
        if result["kind"] == "input":
            raise InputError(where)
        raise StepFailedError(f"{where} (log: {folder / 'log.txt'})")
    metrics: dict[str, float] = result["metrics"]
    return metrics


def is_at_work(store: Store, fingerprint: str) -> bool:
    """Whether some process is computing this fingerprint now."""
    try:
        lock = os.open(_folder(store, fingerprint).with_suffix(".lock"), os.O_RDONLY)
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
    return store.root / "work" / fingerprint[:32]


def _curves(path: Path) -> list[Metric]:
    """The points of every attempt, the last one of each name and step; a line that a kill cut short is passed over."""
    points: dict[tuple[str, int], Metric] = {}
    for line in _lines(path):
        try:
            point = Metric(**json.loads(line))
        except ValueError:
            continue
        points[point.name, point.step] = point
    return list(points.values())


@contextmanager
def _alone(folder: Path, on_progress: Progress) -> Iterator[None]:
    """Only one process works on a fingerprint; a second one waits for the first and then finds its result."""
    lock = _locked(folder, on_progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []
