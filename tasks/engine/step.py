"""What a step is: a plain function with a typed config, named inputs and named outputs, and what it sees while it runs.

A step function knows neither Prefect nor the catalog. It reads its inputs and writes its outputs through `StepRun`, in
a process of its own; tasks/engine/execute.py decides whether it has to run at all and publishes what it made.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from data_store.content.row_batches import StoredRows, row_dicts
from data_store.files import append_whole, open_batches
from data_store.rows import row_kind

if TYPE_CHECKING:
    from data_store.estimate import Estimate
    from models.samplers.config import VllmConfig
    from tasks.engine.call import StepCall


@dataclass(frozen=True)
class Input:
    """One input: the kind of its assets ('file' for a file or folder outside the store), and the kind of its rows where
    they are data sets. The plan may leave out what is `optional`, and give several of what may be `many`. `is_model`: a
    folder outside the store that holds a model, which shards elsewhere may open."""

    kind: str
    rows: str | None = None
    optional: bool = False
    many: bool = False
    is_model: bool = False


@dataclass(frozen=True)
class Output:
    """One output: the kind of its asset, and the kind of its rows where it is a data set.

    `passes_on` names the inputs whose rows it holds, each chosen for itself: where those rows are from stands in them.
    """

    kind: str
    rows: str | None = None
    passes_on: tuple[str, ...] = ()


NOTES = "notes.jsonl"
BASE = Input("model", optional=True)  # what adapters stand on; a policy without adapters needs none

Measurements = Mapping[str, "float | Estimate"]  # by name: a number, or one with its interval
StepFunction = Callable[["StepRun", Any], Measurements]
Files = Mapping[str, tuple[Path, ...]]
# (config, files outside the store by role, 'annotator' or 'source', name) → whether such rows can enter here
Entry = Callable[[Any, Files, str, str], bool]
Measured = Callable[["StepCall"], Iterable[str]]


def nothing_enters(_config: Any, _files: Files, _what: str, _name: str) -> bool:
    """The step makes its rows of its inputs alone."""
    return False


@dataclass(frozen=True)
class Step:
    """A step of the recipe: all that others must know of it. Raise `version` when the same config and inputs would give
    another result than before.

    `measures` names the metrics that a call gives, whatever its data are: a gate can ask for these. `headline` is the
    one that stands for the step in a grid. `about` says in a sentence what it does, `tags` group it with others.
    `takes_in` tells whose rows can enter the store here; of these the withdrawn are left out. `spreads`: it draws,
    scores or judges in shards, which may be done elsewhere; of some calls alone where it is told by the call.
    """

    name: str
    version: int
    config: type[BaseModel]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    function: StepFunction = field(repr=False)
    measures: Measured = field(repr=False)
    headline: str
    about: str
    tags: tuple[str, ...] = ()
    takes_in: Entry = field(default=nothing_enters, repr=False)
    spreads: "bool | Callable[[StepCall], bool]" = field(default=False, repr=False)

    @property
    def module(self) -> str:
        """Where the function lives, for the worker process."""
        return self.function.__module__


def step(
    *,
    version: int,
    config: type[BaseModel],
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    headline: str,
    about: str,
    metrics: Iterable[str] | Measured = (),
    tags: tuple[str, ...] = (),
    takes_in: Entry = nothing_enters,
    spreads: "bool | Callable[[StepCall], bool]" = False,
) -> Callable[[StepFunction], Step]:
    """Declare a step under its function's name. The function returns the metrics of the run by name, as numbers or as
    estimates; `metrics` names those that gates know. Raises ValueError for rows that are passed on from an input that
    there is not."""
    names = () if callable(metrics) else tuple(metrics)
    measures: Measured = metrics if callable(metrics) else lambda _call: names

    def declare(function: StepFunction) -> Step:
        for output in outputs.values():
            if unknown := set(output.passes_on) - set(inputs):
                raise ValueError(f"{function.__name__} passes on rows of {', '.join(sorted(unknown))}: not its input")
        return Step(
            function.__name__,
            version,
            config,
            dict(inputs),
            dict(outputs),
            function,
            measures,
            headline,
            about,
            tags,
            takes_in,
            spreads,
        )

    return declare


@dataclass(frozen=True)
class StepInput:
    """One input as the step sees it: a folder of the store, or a file outside it."""

    asset: str
    version_id: str
    path: Path


class StepRun:
    """What a step function sees: inputs, outputs, a place for checkpoints, a seed, and somebody to report to. `roles`
    are the inputs that the step declares: another one is a slip of the pen, and no optional input that is not there.
    `vllm`: how the server is reached that draws, where the config has one. `processes`: on so many of this machine the
    step may do what comes out the same on any number; None leaves it to the step."""

    def __init__(
        self,
        *,
        name: str,
        part: str,
        seed: int,
        inputs: Mapping[str, tuple[StepInput, ...]],
        outputs: Mapping[str, Output],
        folder: Path,
        roles: Collection[str] | None = None,
        withdrawn: Iterable[tuple[str, str]] = (),
        vllm: "VllmConfig | None" = None,
        processes: int | None = None,
    ) -> None:
        self.name, self.part, self.seed, self.vllm, self.processes = name, part, seed, vllm, processes
        self._inputs, self._outputs, self._folder, self._roles = inputs, outputs, folder, roles
        self._withdrawn = frozenset(withdrawn)
        self._reported = self._reached = 0.0

    def withdrawn(self, what: str) -> list[str]:
        """The annotators, or the sources, whose rows are to be left out."""
        return sorted(name for kind, name in self._withdrawn if kind == what)

    def all_inputs(self, role: str) -> tuple[StepInput, ...]:
        """Every version under a role, in the plan's order; none where the plan gives none. Raises ValueError for a role
        that the step does not declare."""
        if self._roles is not None and role not in self._roles:
            raise ValueError(f"{self.name} declares no input {role!r}; it declares {', '.join(self._roles)}")
        return self._inputs.get(role, ())

    def version(self, role: str) -> str:
        """The version id of a role's only input."""
        return self._only(role).version_id

    def version_of(self, folder: Path) -> str | None:
        """The version id of the input in this folder; None where it is no input's."""
        entries = (entry for given in self._inputs.values() for entry in given)
        return next((entry.version_id for entry in entries if entry.path == folder), None)

    def path(self, role: str) -> Path:
        """The folder of a role's only input."""
        return self._only(role).path

    def optional_path(self, role: str) -> Path | None:
        """The same, or None where the plan gives no such input."""
        return self._only(role).path if self.all_inputs(role) else None

    def rows(self, role: str) -> pa.Table:
        """The rows of all versions under a role, one after the other."""
        return pa.concat_tables([pq.read_table(entry.path / "rows.parquet") for entry in self.all_inputs(role)])

    def each_row(self, role: str) -> StoredRows:
        """The same as dictionaries that are made as they are asked for; none where the plan gives no such input."""
        return StoredRows([entry.path / "rows.parquet" for entry in self.all_inputs(role)])

    def batches(self, role: str, rows: int = 1024) -> Iterator[list[dict[str, Any]]]:
        """The same, at most `rows` at a time."""
        for batch in self.record_batches(role, rows):
            yield row_dicts(batch)

    def records(self, role: str) -> list[dict[str, Any]]:
        """All of these at once: of what is small."""
        return list(self.each_row(role))

    def records_each(self, role: str) -> list[list[dict[str, Any]]]:
        """The same, those of each version by themselves, in the plan's order."""
        return [list(StoredRows([entry.path / "rows.parquet"])) for entry in self.all_inputs(role)]

    def record_batches(self, role: str, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """The same as Arrow has them."""
        for entry in self.all_inputs(role):
            with open_batches(entry.path / "rows.parquet") as file:
                yield from file.iter_batches(rows)

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
        schema = self._schema_of(role)
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, self.output(role) / "rows.parquet", compression="zstd")

    @contextmanager
    def writing_rows(self, role: str) -> Iterator[Callable[[pa.Table], None]]:
        """Write a data set piece by piece, as its rows come: of what is too large to be held."""
        path = self.output(role) / "rows.parquet"
        with pq.ParquetWriter(path, self._schema_of(role), compression="zstd") as writer:
            yield lambda rows: writer.write_table(rows) if rows.num_rows else None

    @property
    def work(self) -> Path:
        """Checkpoints of a training go here; the folder outlives a crash, and goes when the step is done."""
        folder = self._folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, fraction: float, text: str) -> None:
        """Show how far the step is; at most four times a second."""
        self._reached, now = fraction, time.monotonic()
        if now - self._reported >= 0.25 or fraction >= 1:
            self._reported = now
            temporary = self._folder / "progress.tmp"
            temporary.write_text(json.dumps({"fraction": min(max(fraction, 0.0), 1.0), "text": text}))
            temporary.replace(self._folder / "progress.json")

    def part_of_rest(self, share: float, text: str) -> Callable[[float], None]:
        """Hears how much is done, from 0 to 1, of work that is `share` of what the step has left."""
        start = self._reached
        return lambda done: self.progress(start + (1 - start) * share * done, text)

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve for the catalog. `step` counts from 1: 0 is for what a whole run measured."""
        if step < 1:
            raise ValueError(f"{name}: the first point of a curve has step 1, not {step}")
        line = json.dumps({"name": name, "value": value, "step": step}) + "\n"
        append_whole(self._folder / "metrics.jsonl", line.encode(), durable=False)

    def log(self, text: str) -> None:
        """One line for the step's log."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Something that a person should know who sees that the step is done, such as that rows were left out. It
        stands in the step's log, too."""
        self.log(text)
        append_whole(self._folder / NOTES, f"{json.dumps(text)}\n".encode(), durable=False)

    def table(self, key: str, rows: list[dict[str, Any]]) -> None:
        """A table that a person wants to look at; it becomes an artifact of the run."""
        folder = self._folder / "tables"
        folder.mkdir(exist_ok=True)
        (folder / f"{key}.json").write_text(json.dumps(rows))

    def _schema_of(self, role: str) -> pa.Schema:
        kind = self._outputs[role].rows
        if kind is None:
            raise ValueError(f"{self.name}: output {role} is not a data set")
        return row_kind(kind).schema

    def _only(self, role: str) -> StepInput:
        entries = self.all_inputs(role)
        if len(entries) != 1:
            raise ValueError(f"{self.name}: wanted one input {role!r}, the plan gives {len(entries)}")
        return entries[0]
