"""What the store takes and gives: small frozen records, one per fact."""

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

from data_store.estimate import Estimate
from data_store.names import AssetName

RunState = Literal["running", "succeeded", "failed", "cancelled", "crashed"]
EndState = Literal["failed", "cancelled", "crashed"]
ObjectRole = Literal["file", "segment", "ids", "external"]


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """A fresh id for a run: 32 hexadecimal characters."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class RunRecord:
    """One execution of one step: everything that is known when it starts.

    `fingerprint` must cover everything that decides the outputs, and the part: a run found by its fingerprint is taken
    up again for the assets that it wrote, and for no others. `code_files` maps the paths of the step's source files to
    their sha256. `config` and `env` are plain JSON values.
    """

    step: str
    part: str
    fingerprint: str
    code_version: str
    config: Mapping[str, Any]
    seed: int
    run_id: str = field(default_factory=new_run_id)
    attempt: int = 1
    git_commit: str | None = None
    git_dirty: bool | None = None
    code_files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    prefect_flow_run_id: str | None = None
    prefect_task_run_id: str | None = None
    prefect_root_flow_run_id: str | None = None
    host: str = field(default_factory=socket.gethostname)
    started_at: datetime = field(default_factory=now)


@dataclass(frozen=True)
class ObjectRef:
    """One stored object as a version uses it. `path` is its name inside the version; bytes is its size."""

    path: str
    sha256: str
    bytes: int
    role: ObjectRole


@dataclass(frozen=True)
class Publication:
    """Content that lies in the store and is not in the catalog yet: what `commit_run` needs to name it.

    `bytes` is the size of all objects; `new_bytes` is what this publication added to the disk.
    """

    version_id: str
    kind: str
    set_hash: str
    schema_hash: str
    row_kind: str | None
    n_rows: int | None
    bytes: int
    new_bytes: int
    parent: str | None
    objects: tuple[ObjectRef, ...]

    @classmethod
    def of(cls, version: "VersionInfo") -> "Publication":
        """A version of another store, as it is named in this one; it adds nothing to the disk by itself."""
        shared = {one.name: getattr(version, one.name) for one in fields(cls) if one.name != "new_bytes"}
        return cls(**shared, new_bytes=0)


@dataclass(frozen=True)
class RunInput:
    """A version that a run read. A role may come several times with different assets (answers of all iterations).

    `producer_run_id` is the run that made it, as the head said (None for an external source): two runs can produce the
    same bytes, and only this tells their ancestries apart.
    """

    role: str
    asset: AssetName
    version_id: str
    producer_run_id: str | None


@dataclass(frozen=True)
class RunOutput:
    """A version that a run wrote, and the asset whose head it becomes."""

    asset: AssetName
    publication: Publication


# The metric of a step's attempt: seconds on a processor, of its process and those that it waited for. An attempt that
# was stopped from outside has none, nor has one of a journal of before this was counted.
PROCESSOR_SECONDS = "processor_seconds"
# Where the config's `energy_country` is set: energy that the machine drew for it, and the CO2 of that
KWH, KG_CO2 = "kwh", "kg_co2"


@dataclass(frozen=True)
class Metric:
    """One number that a run measured. `step` is the training step, 0 for a number of the whole run; such a number may
    be an estimate, and says then of how many and by whom, as `Estimate` does."""

    name: str
    value: float
    step: int = 0
    n: int | None = None
    low: float | None = None
    high: float | None = None
    judge: str | None = None

    @classmethod
    def of(cls, name: str, measured: float | Estimate) -> "Metric":
        """What a step gives under a name, as a number of the whole run."""
        if isinstance(measured, Estimate):
            return cls(name, measured.value, 0, measured.n, measured.low, measured.high, measured.judge)
        return cls(name, measured)

    @property
    def estimate(self) -> Estimate | None:
        """The same with what is known of its accuracy, where anything is."""
        return None if self.n is None else Estimate(self.value, self.n, self.low, self.high, self.judge)


@dataclass(frozen=True)
class Head:
    """Where an asset points, since when and why. `run_id` is None for an external source."""

    asset: AssetName
    version_id: str
    run_id: str | None
    seq: int
    at: datetime
    reason: str


@dataclass(frozen=True)
class FinishedRun:
    """A succeeded run whose outputs are all still there: role -> (asset, version id)."""

    run_id: str
    outputs: Mapping[str, tuple[AssetName, str]]
    metrics: Sequence[Metric]
    finished_at: datetime


@dataclass(frozen=True)
class VersionInfo:
    """What the catalog knows of a version."""

    version_id: str
    kind: str
    row_kind: str | None
    set_hash: str
    schema_hash: str
    n_rows: int | None
    bytes: int
    parent: str | None
    created_at: datetime
    objects: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class RunSummary:
    """A run with where it stands now. `seq` numbers its newest event in the journal: a larger one is later.
    `seconds` is None while it runs; `metrics` holds the last value of each name, `estimates` those of which more is
    known than the value.
    """

    run: RunRecord
    state: RunState
    detail: str
    seq: int
    finished_at: datetime | None
    seconds: float | None
    metrics: Mapping[str, float]
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Override:
    """A config value that `halter rerun --set` stored for one step of one part; `value_json` is JSON text."""

    part: str
    step: str
    key: str
    value_json: str
    at: datetime


@dataclass(frozen=True)
class Withdrawal:
    """The rows of an annotator or of a source are not to be learned from. `name` is the annotator's, or the source's as
    the rows say it (a file's name, `world:prompts`); `seq` is the number of the event."""

    what: Literal["annotator", "source"]
    name: str
    reason: str
    at: datetime
    seq: int

    def __str__(self) -> str:
        return f"{self.what} {self.name}"


class LineageEdge(NamedTuple):
    """One use or one product: `run_id` read (direction 'input') or wrote ('output') the version under this role."""

    run_id: str
    direction: Literal["input", "output"]
    role: str
    asset: AssetName
    version_id: str
    producer_run_id: str | None


@dataclass(frozen=True)
class ImportedStep:
    """A run that succeeded in another store, with its edges and all that it measured."""

    run: RunRecord
    finished_at: datetime
    inputs: tuple[LineageEdge, ...]
    outputs: tuple[LineageEdge, ...]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class LineageGraph:
    """Runs by id, and the versions they read and wrote. `roots` are the runs the question started from."""

    roots: tuple[str, ...]
    runs: Mapping[str, RunSummary]
    edges: tuple[LineageEdge, ...]

    def inputs_of(self, run_id: str) -> tuple[LineageEdge, ...]:
        """What the run read."""
        return tuple(edge for edge in self._by_run.get(run_id, ()) if edge.direction == "input")

    def outputs_of(self, run_id: str) -> tuple[LineageEdge, ...]:
        """What the run wrote."""
        return tuple(edge for edge in self._by_run.get(run_id, ()) if edge.direction == "output")

    @cached_property
    def _by_run(self) -> Mapping[str, list[LineageEdge]]:
        found: dict[str, list[LineageEdge]] = {}
        for edge in self.edges:
            found.setdefault(edge.run_id, []).append(edge)
        return found
