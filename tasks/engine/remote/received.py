"""A step done for a flow on another machine: its inputs come from the store's bucket, what it makes goes there.

The folder here has no catalog and no journal. It keeps copies of objects, versions laid out, and the work of steps that
were cut off: sent here again they go on from their checkpoints.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_store.content.bucket_objects import BucketObjects
from data_store.content.objects import file_sha256
from data_store.content.publishing import Checkouts, files_in
from data_store.errors import InputError, StoreError
from data_store.files import remove_stale
from data_store.locks import try_lock, unlock
from data_store.records import Metric
from tasks.engine.code import code_version
from tasks.engine.jobs import StepDiedError, StepFailedError, check_written, run_whole
from tasks.engine.meter import Meter
from tasks.engine.processes import Ended, WorkerDiedError, Workers
from tasks.engine.remote.among import Among
from tasks.engine.remote.line import Line
from tasks.engine.remote.messages import Code, Failed, File, Made, Number, Order, Said
from tasks.engine.step import NOTES

_KEPT_SECONDS = 7 * 86400.0  # what nobody has used for so long goes
_LOCK_SECONDS = 600.0
_SECONDS_BETWEEN_TRIES = 0.2


class OtherCodeError(InputError):
    """The code here is not the flow's."""


def carry_out(
    order: Order,
    objects: BucketObjects,
    prefix: str,
    root: Path,
    host: str,
    meter: Meter,
    tell: Callable[[str], None],
    part: int = 0,
) -> str:
    """Do a step in `root`, or a part of it; gives in a sentence what came of it, for whoever looks at this machine. The
    flow is told all of it on its line: `prefix` is where the order lies. `tell` hears of the step's log. Raises
    FlowGoneError where nobody waits for the step any more."""
    with (
        Line(objects.bucket, prefix, tell, part) as line,
        _alone(root / "work" / prefix.split("/")[1], prefix, order.nodes, line) as folder,
    ):
        try:
            made = _done(order, objects, prefix, part, root, folder, host, meter, line)
        except (InputError, StepFailedError, StoreError, WorkerDiedError) as error:
            line.look()  # where nobody listens, this is why
            died = isinstance(error, StepDiedError | WorkerDiedError)
            kind: Any = "died" if died else "input" if isinstance(error, InputError) else "failure"
            line.say(Said(failed=Failed(kind=kind, message=f"{error}"[:20_000])))
            return f"failed: {error}"
        line.say(Said(made=made))
        shutil.rmtree(folder, ignore_errors=True)
    return f"made {', '.join(made.outputs)}" if made.outputs else f"took part as node {part + 1} of {order.nodes}"


def _done(
    order: Order,
    objects: BucketObjects,
    prefix: str,
    part: int,
    root: Path,
    folder: Path,
    host: str,
    meter: Meter,
    line: Line,
) -> Made:
    workers = Workers([order.job["module"]])
    spent = 0.0

    def on_end(ended: Ended) -> None:
        nonlocal spent
        spent = ended.processor_seconds

    try:
        _say_code(order, workers, host, line)
        places = _laid_out(order, tidied(Checkouts(root / "checkouts", root / "tmp", objects)), line)
        job = order.job | {"inputs": places}
        if order.nodes > 1:
            among = Among(
                part=part, nodes=order.nodes, wait_seconds=order.wait_seconds, objects=str(objects), order=prefix
            )
            job |= {"among": among.model_dump(mode="json")}
        what = f"{order.step} of {order.part}"
        meter.begin(prefix)
        metrics = run_whole(workers, job, folder, what, line, line.progress, line.points, on_end)
        drawn = meter.end(prefix)
    finally:
        meter.end(prefix)
        workers.close()
    if part:
        return Made(metrics=(), outputs={}, processor_seconds=spent, energy=_numbers(list(drawn)))
    line.progress(1.0, "sending what it made")
    check_written(what, order.job["outputs"], folder / "out")
    outputs = {}
    for role in order.job["outputs"]:
        line.look()
        outputs[role] = _sent(objects, prefix, folder / "out" / role, is_rows=role in order.rows)
    noted = folder / NOTES
    notes = [json.loads(text) for text in noted.read_text().splitlines()] if noted.exists() else []
    return Made(
        metrics=_numbers(metrics),
        outputs=outputs,
        notes=(*notes, *filter(None, [meter.problem])),
        tables={path.stem: json.loads(path.read_text()) for path in sorted((folder / "tables").glob("*.json"))},
        processor_seconds=spent,
        energy=_numbers(list(drawn)),
    )


def _say_code(order: Order, workers: Workers, host: str, line: Line) -> None:
    """Raises OtherCodeError for code that is not the flow's, StepFailedError for what cannot be loaded."""
    try:
        code = workers.code(order.job["module"])
    except ValueError as error:
        raise StepFailedError(f"{order.step} of {order.part}: {error}") from None
    mine, theirs = code_version(code.files), order.code_version
    if mine != theirs:
        wanted = order.job["code"]
        others = sorted(path for path in {*wanted, *code.files} if wanted.get(path) != code.files.get(path))
        raise OtherCodeError(
            f"{order.step} of {order.part} is other code on {host} ({mine[:12]}) than at the flow ({theirs[:12]}): "
            f"{', '.join(others[:5])}{' …' if len(others) > 5 else ''}. Install the same there, and start its worker "
            "again"
        )
    line.say(
        Said(
            code=Code(
                files=dict(code.files),
                git_commit=code.git_commit,
                git_dirty=code.git_dirty,
                env=dict(code.env),
                host=host,
            )
        )
    )


def _laid_out(order: Order, checkouts: Checkouts, line: Line) -> dict[str, list[dict[str, str]]]:
    versions = {each.version_id: each.info for each in order.versions}
    places: dict[str, list[dict[str, str]]] = {}
    for role, entries in order.inputs.items():
        for asset, version_id in entries:
            line.look()
            line.progress(0.0, f"fetching {asset}")
            path = str(checkouts.get(versions[version_id]))
            places.setdefault(role, []).append({"asset": asset, "version_id": version_id, "path": path})
    return places


def _sent(objects: BucketObjects, prefix: str, folder: Path, *, is_rows: bool) -> tuple[File, ...]:
    """Put the files of an output into the bucket: among the objects, or where the flow takes rows from, whose object is
    made of them there."""
    files = []
    for name, path in files_in(folder):
        if is_rows:
            sha256, size, new = file_sha256(path), path.stat().st_size, True
            objects.bucket.create_file(f"{prefix}out/{sha256}", path)
        else:
            sha256, size, new = objects.put_file(path, consume=True)
        files.append(File(path=name, sha256=sha256, bytes=size, new=new))
    return tuple(files)


def _numbers(metrics: list[Metric]) -> tuple[Number, ...]:
    return tuple(Number(**vars(each)) for each in metrics)


@contextmanager
def _alone(first: Path, prefix: str, nodes: int, line: Line) -> Iterator[Path]:
    """The folder for the work of one sending of a step at a time: an earlier one, whose flow has gone, comes to its end
    before. Parts of one sending that are done side by side here have a folder each. Raises StoreError as locks do."""
    line.progress(0.0, "waiting for an earlier attempt on the same machine to end")
    deadline = time.monotonic() + _LOCK_SECONDS
    folders = [first, *(first.with_name(f"{first.name}.{number}") for number in range(1, nodes))]
    while (taken := _free(folders, prefix)) is None:
        if time.monotonic() > deadline:
            raise StoreError(f"{first}: an earlier attempt has not ended for {_LOCK_SECONDS:g} s")
        time.sleep(_SECONDS_BETWEEN_TRIES)
    folder, lock = taken
    try:
        folder.mkdir(exist_ok=True)
        line.follow(folder / "log.txt")
        line.progress(0.0, "loading its code")
        yield folder
    finally:
        unlock(lock)


def _free(folders: list[Path], prefix: str) -> tuple[Path, int] | None:
    """The first folder that nobody has, and its lock; None while another sending has one."""
    for folder in folders:
        path = Path(f"{folder}.lock")
        if (lock := try_lock(path, exclusive=True)) is not None:
            path.write_text(prefix)
            return folder, lock
        if path.read_text() != prefix:
            return None
    return None


def prepared(root: Path) -> Path:
    """The folder in which a store's steps are done here, with what nobody has used for a week taken away."""
    for name in ("objects", "checkouts", "tmp", "work"):
        (root / name).mkdir(parents=True, exist_ok=True)
    remove_stale(root / "tmp")
    limit = time.time() - _KEPT_SECONDS
    for folder in (root / "work").iterdir():
        if folder.is_dir() and folder.stat().st_mtime < limit:
            shutil.rmtree(folder, ignore_errors=True)
    return root


def tidied(checkouts: Checkouts) -> Checkouts:
    """The same, without versions that nobody has read here for a week, and copies that are part of none."""
    limit = time.time() - _KEPT_SECONDS
    for version, used in checkouts.cached():
        if used < limit:
            checkouts.evict(version)
    for copy in checkouts.objects.folder.glob("??/*"):
        with suppress(FileNotFoundError):  # another step tidies as well
            if copy.stat().st_nlink == 1 and copy.stat().st_atime < limit:
                copy.unlink()
    return checkouts
