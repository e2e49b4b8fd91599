"""What a step is: a plain function with a typed config, named inputs and named outputs, and what it sees while it runs.

A step function knows neither Prefect nor the catalog. It reads its inputs and writes its outputs through `StepRun`, in
a process of its own; tasks/execute.py decides whether it has to run at all and publishes what it made.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from data_store.files import append_whole
from data_store.names import AssetName
from data_store.row_sources import is_named
from data_store.rows import row_kind

if TYPE_CHECKING:
    from data_store.records import Withdrawal
    from tasks.judges import Asked


@dataclass(frozen=True)
class Output:
    """One output: the kind of its asset, and the kind of its rows where it is a data set."""

    kind: str
    rows: str | None = None


StepFunction = Callable[["StepRun", Any], Mapping[str, float]]
Sources = Mapping[str, tuple[Path, ...]]
# (config, source files by role, 'annotator' or 'source', name) → whether such rows can enter the store by this step
Entry = Callable[[Any, Sources, str, str], bool]
Measured = Callable[["StepCall"], Iterable[str]]


def nothing_enters(_config: Any, _sources: Sources, _what: str, _name: str) -> bool:
    """The step makes its rows of its inputs alone."""
    return False


@dataclass(frozen=True)
class Step:
    """A step of the recipe. Raise `version` when the same config and inputs would give another result than before.

    `passes_on` names, for an output, the inputs whose rows it holds, each chosen for itself: where those rows are from
    stands in them. `takes_in` tells whose rows can enter the store here; of these the withdrawn are left out.
    `measures` names the metrics that a call gives, whatever its data are: a gate can ask for these.
    """

    name: str
    version: int
    config: type[BaseModel]
    outputs: Mapping[str, Output]
    function: StepFunction = field(repr=False)
    measures: Measured = field(repr=False)
    passes_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes_in: Entry = field(default=nothing_enters, repr=False)

    @property
    def module(self) -> str:
        """Where the function lives, for the worker process."""
        return self.function.__module__


def step(
    *,
    version: int,
    config: type[BaseModel],
    outputs: Mapping[str, Output],
    metrics: Iterable[str] | Measured = (),
    name: str = "",
    passes_on: Mapping[str, tuple[str, ...]] | None = None,
    takes_in: Entry = nothing_enters,
) -> Callable[[StepFunction], Step]:
    """Declare a step. The function returns the metrics of the run by name; `metrics` names those that gates know."""
    names = () if callable(metrics) else tuple(metrics)
    measures: Measured = metrics if callable(metrics) else lambda _call: names

    def declare(function: StepFunction) -> Step:
        return Step(
            name or function.__name__, version, config, dict(outputs), function, measures, passes_on or {}, takes_in
        )

    return declare


@dataclass(frozen=True)
class StepCall:
    """A step with everything decided but the versions of its inputs: one cell of the plan.

    `inputs` names, for each role, the assets whose heads will be read; `sources` are files outside the store, by role;
    `adopted` are assets of other runs: (name of the run, asset), by role; `judged` are pairs whose judgements by people
    are read, by role; `asked` is what an endpoint is asked before, by the role of its answers; `attacked` are the parts
    whose red teams are read, by role; `withdrawn` are ('annotator' or 'source', name) of rows that would enter here and
    are left out.
    """

    step: Step
    part: str
    config: BaseModel
    seed: int
    inputs: Mapping[str, tuple[AssetName, ...]]
    outputs: Mapping[str, AssetName]
    sources: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    adopted: Mapping[str, tuple[tuple[str, AssetName], ...]] = field(default_factory=dict)
    judged: Mapping[str, AssetName] = field(default_factory=dict)
    asked: Mapping[str, "Asked"] = field(default_factory=dict)
    attacked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    withdrawn: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """(part, step name)."""
        return self.part, self.step.name

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that a gate can ask for."""
        return (*self.step.measures(self), "seconds")

    def without(self, withdrawals: Iterable["Withdrawal"]) -> "StepCall":
        """The same call with the rows left out that are withdrawn: whole files, and what stands in others. It is this
        call itself where none of them can enter here."""
        names = sorted({(each.what, each.name) for each in withdrawals})
        withdrawn = tuple(each for each in names if self.step.takes_in(self.config, self.sources, *each))
        if not withdrawn:
            return self
        files = [name for what, name in withdrawn if what == "source"]
        kept = {
            role: tuple(path for path in paths if not any(is_named(path, name) for name in files))
            for role, paths in self.sources.items()
        }
        sources = {role: paths for role, paths in kept.items() if paths}
        return replace(self, sources=sources, withdrawn=withdrawn)

    def fingerprint(self, inputs: Mapping[str, tuple[str, ...]]) -> str:
        """The identity of this computation, given the version ids of its inputs (sources included)."""
        text = json.dumps(
            {**self.recipe(), "inputs": {role: list(ids) for role, ids in inputs.items()}}, sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the result, but for the inputs."""
        return {
            "step": self.step.name,
            "version": self.step.version,
            "part": self.part,
            "seed": self.seed,
            "config": self.config.model_dump(mode="json"),
            "outputs": {role: str(asset) for role, asset in sorted(self.outputs.items())},
            **({"withdrawn": [list(each) for each in self.withdrawn]} if self.withdrawn else {}),
        }


def derive_seed(seed: int, step_name: str, part: str) -> int:
    """The seed of one step: no two steps share one, and adding a step changes no other's."""
    digest = hashlib.sha256(f"{seed}/{part}/{step_name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


@dataclass(frozen=True)
class StepInput:
    """One input as the step sees it: a folder of the store, or a file outside it."""

    asset: str
    version_id: str
    path: Path


class StepRun:
    """What a step function sees: inputs, outputs, a place for checkpoints, a seed, and somebody to report to."""

    def __init__(
        self,
        *,
        name: str,
        part: str,
        seed: int,
        inputs: Mapping[str, tuple[StepInput, ...]],
        outputs: Mapping[str, Output],
        folder: Path,
        withdrawn: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.name, self.part, self.seed = name, part, seed
        self._inputs, self._outputs, self._folder = inputs, outputs, folder
        self._withdrawn = frozenset(withdrawn)
        self._reported = 0.0

    def withdrawn(self, what: str) -> list[str]:
        """The annotators, or the sources, whose rows are to be left out."""
        return sorted(name for kind, name in self._withdrawn if kind == what)

    def all_inputs(self, role: str) -> tuple[StepInput, ...]:
        """Every version under a role, in the plan's order; none where the plan gives none."""
        return self._inputs.get(role, ())

    def version(self, role: str) -> str:
        """The version id of a role's only input."""
        return self._only(role).version_id

    def path(self, role: str) -> Path:
        """The folder of a role's only input."""
        return self._only(role).path

    def optional_path(self, role: str) -> Path | None:
        """The same, or None where the plan gives no such input."""
        return self._only(role).path if self._inputs.get(role) else None

    def rows(self, role: str) -> pa.Table:
        """The rows of all versions under a role, one after the other."""
        return pa.concat_tables([pq.read_table(entry.path / "rows.parquet") for entry in self._inputs[role]])

    def records(self, role: str) -> list[dict[str, Any]]:
        """The same as dictionaries; none where the plan gives no such input."""
        return self.rows(role).to_pylist() if self._inputs.get(role) else []

    def wants(self, role: str) -> bool:
        """Whether the plan asks for this output."""
        return role in self._outputs

    def output(self, role: str) -> Path:
        """The folder to write an output into."""
        folder = self._folder / "out" / role
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_rows(self, role: str, rows: pa.Table | list[dict[str, Any]]) -> None:
        """Write a data set."""
        kind = self._outputs[role].rows
        if kind is None:
            raise ValueError(f"{self.name}: output {role} is not a data set")
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=row_kind(kind).schema)
        pq.write_table(table, self.output(role) / "rows.parquet", compression="zstd")

    @property
    def work(self) -> Path:
        """Checkpoints of a training go here; the folder outlives a crash, and goes when the step is done."""
        folder = self._folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, fraction: float, text: str) -> None:
        """Show how far the step is; at most four times a second."""
        now = time.monotonic()
        if now - self._reported >= 0.25 or fraction >= 1:
            self._reported = now
            temporary = self._folder / "progress.tmp"
            temporary.write_text(json.dumps({"fraction": min(max(fraction, 0.0), 1.0), "text": text}))
            temporary.replace(self._folder / "progress.json")

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve for the catalog. `step` counts from 1: 0 is for what a whole run measured."""
        if step < 1:
            raise ValueError(f"{name}: the first point of a curve has step 1, not {step}")
        line = json.dumps({"name": name, "value": value, "step": step}) + "\n"
        append_whole(self._folder / "metrics.jsonl", line.encode(), durable=False)

    def log(self, text: str) -> None:
        """One line for the step's log."""
        print(text, flush=True)

    def table(self, key: str, rows: list[dict[str, Any]]) -> None:
        """A table that a person wants to look at; it becomes an artifact of the run."""
        folder = self._folder / "tables"
        folder.mkdir(exist_ok=True)
        (folder / f"{key}.json").write_text(json.dumps(rows))

    def _only(self, role: str) -> StepInput:
        entries = self._inputs.get(role, ())
        if len(entries) != 1:
            raise ValueError(f"{self.name}: wanted one input {role!r}, the plan gives {len(entries)}")
        return entries[0]
