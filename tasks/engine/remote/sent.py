"""A step that is done on another machine, as its flow sees it: sent to a work pool, listened to, verified.

The flow alone writes journal and catalog. What comes back is held against the step's declaration: each file of each
output is read where it lies and hashed, and rows go through the same checks as those that were made here.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data_store.commands import halter
from data_store.content.objects import copy_hashing
from data_store.content.publishing import files_publication
from data_store.errors import InputError, StoreError
from data_store.files import append_whole
from data_store.records import Metric, ObjectRef, Publication, RunInput
from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.code import code_version
from tasks.engine.jobs import StepFailedError, job_of
from tasks.engine.processes import Ended, StepCode
from tasks.engine.reading import Progress
from tasks.engine.remote.dispatch import OVER, CancelledError, Dispatch, StepLostError, error_of
from tasks.engine.remote.messages import (
    SILENT_SECONDS,
    Code,
    File,
    Made,
    Order,
    Said,
    UnreadableError,
    Version,
    read,
    said,
)
from tasks.engine.remote.others import OtherParts
from tasks.engine.remote.returned import lay_down

if TYPE_CHECKING:
    from data_store.content.bucket_objects import BucketObjects
    from tasks.engine.on_ray.shards import ShardsTold

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_TOUCHES = 10.0
_SECONDS_BETWEEN_QUESTIONS = 5.0

Points = Callable[[Sequence[Metric]], None]


def bucket_of(store: Store) -> "BucketObjects":
    """Where the objects lie. Raises InputError where that is a folder, which no other machine reaches."""
    if store.places.objects is None:
        name = store.root.name
        command = halter("move-store", name, "--objects", "s3://BUCKET/PREFIX", run=None)
        raise InputError(
            f"resources: steps of {name} are to be done on other machines, and its objects lie in a folder of this "
            f"one: bring them into a bucket with `{command}`, with --new before the first run"
        )
    from data_store.content.bucket_objects import BucketObjects

    if not isinstance(store.objects, BucketObjects):
        raise TypeError("objects elsewhere are in a bucket")
    return store.objects


class Sent:
    """One sending of a step; use as a context. `stopped` tells that the flow is to end."""

    def __init__(
        self,
        store: Store,
        call: StepCall,
        folder: Path,
        dispatch: Dispatch,
        stopped: Callable[[], bool],
        on_progress: Progress,
        shards: "ShardsTold | None" = None,
    ) -> None:
        self._shards = shards
        self._store, self._call, self._folder, self._dispatch = store, call, folder, dispatch
        self._stopped, self._on_progress = stopped, on_progress
        self._objects = bucket_of(store)
        self._of_step = f"steps/{folder.name}/"
        self._prefix = f"{self._of_step}{uuid.uuid4().hex}/"
        self._what = f"{call.step.name} of {call.part}"
        self._run = ""
        self._next, self._heard = 1, time.monotonic()
        self._touched = self._asked = 0.0
        self._host: str | None = None
        self._notes: list[str] = []
        self._over = False
        self._others = OtherParts(self._objects.bucket, self._prefix, dispatch, self._what)
        self._made: Made | None = None

    def __enter__(self) -> "Sent":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(StoreError):  # what cannot be removed now is, when the step is sent again, or by the collector
            self._clear()
        if self._run and not self._over:
            self._dispatch.end(self._run)
        self._others.end()

    def begin(self, inputs: Sequence[RunInput], code: StepCode) -> Code:
        """Send the step, and wait until a worker has begun with it; gives the code that it has. Raises InputError for
        inputs that lie outside the store and for other code, StepFailedError for what else keeps it from beginning."""
        self._clear()  # whoever still does it for a flow that is gone hears that nobody waits
        bucket = self._objects.bucket
        order = self._order(inputs, code)
        bucket.touch(f"{self._prefix}alive")
        bucket.create(f"{self._prefix}order", order.model_dump_json().encode())
        self._run = self._dispatch.start(self._call, self._prefix, 0)
        self._others.begin(self._call)
        self._on_progress(0.0, f"waiting for {self._dispatch.worker}")
        while True:
            heard = self._next_said()
            self._take(heard, lambda _points: None)
            if heard.code is not None:
                break
        if code_version(heard.code.files) != code_version(code.files):
            raise StepFailedError(f"{self._what}: {heard.code.host} says that it has other code")
        self._host = heard.code.host
        self._notes = _other_libraries(code.env, heard.code)
        return heard.code

    def run(self, on_points: Points, on_end: Callable[[Ended], None]) -> list[Metric]:
        """Listen until it has ended; gives the metrics, those of energy too. Raises as `run_whole` does."""
        while self._made is None:
            self._take(self._next_said(), on_points)
        self._others.finish()
        on_end(Ended(0, self._made.processor_seconds + self._others.processor_seconds))
        lay_down(self._made, self._folder, [*self._notes, *self._others.notes(self._where)])
        return [each.metric for each in (*self._made.metrics, *self._others.with_energy(self._made.energy))]

    def outputs(self) -> Mapping[str, Publication]:
        """What it made, verified, as content of the store. Raises StepLostError for what is not there."""
        if self._made is None:
            raise AssertionError("run comes first")
        given, wanted = self._made.outputs, self._call.outputs
        if set(given) != set(wanted) or not all(given.values()):
            raise StepFailedError(f"{self._what} gave {', '.join(sorted(given))}, not {', '.join(sorted(wanted))}")
        published = {}
        for role, asset in wanted.items():
            self._keep_alive()
            rows = self._call.step.outputs[role].rows
            if rows is None:
                published[role] = files_publication(asset.kind, *self._verified(given[role]))
            else:
                folder = self._fetched(role, given[role])
                published[role] = self._store.publish(asset.kind, folder, row_kind=rows, consume=True)
        return published

    def _order(self, inputs: Sequence[RunInput], code: StepCode) -> Order:
        listed: dict[str, list[tuple[str, str]]] = {}
        with self._store.one_state():
            versions = {entry.version_id: self._store.version(entry.version_id) for entry in inputs}
        for entry in inputs:
            listed.setdefault(entry.role, []).append((str(entry.asset), entry.version_id))
            if any(ref.role == "external" for ref in versions[entry.version_id].objects):
                raise InputError(
                    f"{self._what} reads {entry.asset}, which lies on this machine's disk: take it out of resources"
                )
        shards = None if self._shards is None else self._shards.reading(self._store, self._call, inputs)
        return Order(
            step=self._call.step.name,
            part=self._call.part,
            job=job_of(self._store.root.name, self._call, code, shards),
            inputs=listed,
            versions=tuple(map(Version.of, versions.values())),
            rows=tuple(role for role in self._call.outputs if self._call.step.outputs[role].rows is not None),
            code_version=code_version(code.files),
            cache_gb=self._store.places.cache_gb,
            energy_country=self._dispatch.energy_country,
            nodes=self._dispatch.nodes,
            wait_seconds=self._dispatch.wait_seconds,
        )

    def _next_said(self) -> Said:
        """The next message. Raises StepLostError where none will come, KeyboardInterrupt where the flow is to end."""
        was_over = False
        while True:
            if self._stopped():
                raise KeyboardInterrupt("stopped together with its flow")
            self._keep_alive()
            self._others.look()
            reader = self._objects.bucket.read(f"{self._prefix}{said(self._next)}")
            if reader is not None:
                try:
                    heard = read(Said, reader, reader.size)
                except UnreadableError as error:
                    raise StepFailedError(f"{self._what}: message {self._next} cannot be read: {error}") from None
                self._next += 1
                self._heard = time.monotonic()
                return heard
            if was_over:  # nothing came after its end
                raise self._lost()
            was_over = self._is_over()
            if time.monotonic() - self._heard > SILENT_SECONDS:
                raise StepLostError(f"{self._what}: {self._where} has said nothing for {SILENT_SECONDS:g} s")
            time.sleep(0.0 if was_over else _SECONDS_BETWEEN_LOOKS)

    def _take(self, heard: Said, on_points: Points) -> None:
        if heard.log:
            append_whole(self._folder / "log.txt", heard.log.encode(), durable=False)
        if heard.points:
            lines = "".join(f"{each.model_dump_json()}\n" for each in heard.points)
            append_whole(self._folder / "metrics.jsonl", lines.encode(), durable=False)
            on_points([each.metric for each in heard.points])
        if heard.progress is not None:
            fraction, text = heard.progress
            self._on_progress(fraction, f"{text} (on {self._host})" if self._host else text)
        if heard.failed is not None:
            self._over = True
            raise error_of(heard.failed, self._where)
        if heard.made is not None:
            self._over, self._made = True, heard.made

    def _lost(self) -> Exception:
        self._over = True
        kind, message = self._dispatch.state(self._run)
        if kind == "CANCELLED":
            return CancelledError(f"{self._what} was cancelled on {self._where}: {message}")
        return StepLostError(f"{self._what} ended on {self._where} without a result: {kind.lower()}: {message}")

    def _is_over(self) -> bool:
        if time.monotonic() - self._asked < _SECONDS_BETWEEN_QUESTIONS:
            return False
        self._asked = time.monotonic()
        kind, why = self._dispatch.state(self._run)
        if kind == "SCHEDULED":  # no worker has taken it yet, and one may come much later
            self._heard = time.monotonic()
            if why:
                self._on_progress(0.0, f"waiting for {self._dispatch.worker}: {why}")
        return kind in OVER

    def _keep_alive(self) -> None:
        if time.monotonic() - self._touched > _SECONDS_BETWEEN_TOUCHES:
            self._objects.bucket.touch(f"{self._prefix}alive")
            self._touched = time.monotonic()

    def _verified(self, files: tuple[File, ...]) -> tuple[list[ObjectRef], int]:
        """The files as objects that are there, with their sizes and hashes; and how many bytes are new."""
        for each in files:
            fault = self._objects.fault(each.sha256, each.bytes, deep=True)
            if fault is not None:
                raise StepLostError(f"{self._what}: {self._objects.where(each.sha256)}, which it made, is {fault}")
            self._keep_alive()
        refs = [ObjectRef(each.path, each.sha256, each.bytes, "file") for each in files]
        if len({ref.path for ref in refs}) < len(refs):
            raise StepFailedError(f"{self._what} gave two files of one name")
        return refs, sum(each.bytes for each in files if each.new)

    def _fetched(self, role: str, files: tuple[File, ...]) -> Path:
        """A folder with the files of an output that holds rows."""
        folder = self._folder / "out" / role
        for each in files:
            place = folder / each.path
            place.parent.mkdir(parents=True, exist_ok=True)
            reader = self._objects.bucket.read(f"{self._prefix}out/{each.sha256}")
            if reader is None or reader.size != each.bytes or copy_hashing(reader, place) != each.sha256:
                raise StepLostError(f"{self._what}: {each.path} of {role}, which it made, is missing or damaged")
        return folder

    @property
    def _where(self) -> str:
        return self._host or self._dispatch.worker

    def _clear(self) -> None:
        """Take away what was said of this step, by whichever sending."""
        bucket = self._objects.bucket
        bucket.delete([key for key, _ in bucket.listed(self._of_step)])


def _other_libraries(here: Mapping[str, str], there: Code) -> list[str]:
    """A note for a person where libraries are not the same on both machines."""
    other = [
        f"{name} {there.env.get(name)} (here {version})"
        for name, version in here.items()
        if there.env.get(name) != version
    ]
    return (
        [f"done on {there.host}, which has {', '.join(other)}: here it could have come out otherwise"] if other else []
    )
