"""One cell of the plan: a step with everything decided but the versions of its inputs."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from data_store.names import AssetName
from data_store.records import PROCESSOR_SECONDS
from data_store.row_sources import is_named
from tasks.engine.reading import Incoming, Reading
from tasks.engine.step import Step

if TYPE_CHECKING:
    from data_store.annotation.book import Book
    from data_store.records import Head, Withdrawal
    from data_store.store import Store
    from models.samplers.config import VllmConfig

_Kind = TypeVar("_Kind", bound=Incoming)
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class StepCall:
    """A step with what it reads and writes: `inputs` and `outputs` by role. `withdrawn` are ('annotator' or 'source',
    name) of rows that would enter here and are left out. `after` names steps of the same part that must have ended well
    before this one is worth its time, though it reads nothing of theirs. `vllm`: how the server is reached that draws
    where the config says so; `processes`: on how many of its machine the step works, where the config says so. Both
    decide nothing of the result."""

    step: Step
    part: str
    config: BaseModel
    seed: int
    inputs: Mapping[str, tuple[Incoming, ...]]
    outputs: Mapping[str, AssetName]
    after: tuple[str, ...] = ()
    withdrawn: tuple[tuple[str, str], ...] = ()
    vllm: "VllmConfig | None" = None
    processes: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what does not fit the step's declaration: roles that it does not have, inputs that it
        lacks, that are too many or of another kind."""
        declared, where = self.step.inputs, f"{self.step.name} of {self.part}"
        for kind, given, known in (("input", self.inputs, declared), ("output", self.outputs, self.step.outputs)):
            for role in given:
                if role not in known:
                    raise ValueError(f"{where}: the step declares no {kind} {role!r}; it declares {', '.join(known)}")
        for role, wanted in declared.items():
            given_here = self.inputs.get(role, ())
            if not given_here and not wanted.optional:
                raise ValueError(f"{where} lacks its input {role!r}")
            if len(given_here) > 1 and not wanted.many:
                raise ValueError(f"{where} is given {len(given_here)} inputs {role!r}, and reads one")
            for asset in self.assets.get(role, ()):
                if asset.kind != wanted.kind:
                    raise ValueError(f"{where}: {asset} is no {wanted.kind}, as {role!r} must be")

    @property
    def key(self) -> tuple[str, str]:
        """(part, step name)."""
        return self.part, self.step.name

    @property
    def spreads(self) -> bool:
        """Whether it draws, scores or judges in shards, which may be done elsewhere."""
        return self.step.spreads(self) if callable(self.step.spreads) else self.step.spreads

    def of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """All that is read of one kind."""
        return tuple(each for given in self.inputs.values() for each in given if isinstance(each, kind))

    @property
    def assets(self) -> dict[str, tuple[AssetName, ...]]:
        """The assets of this store that are read, by role: the edges of the plan."""
        return _by_role(self.inputs, lambda each: each.edge)

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files and folders outside the store that are read, by role."""
        return _by_role(self.inputs, lambda each: each.file)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that a gate can ask for."""
        return (*self.step.measures(self), "seconds", PROCESSOR_SECONDS)

    def without(self, withdrawals: Iterable["Withdrawal"]) -> "StepCall":
        """The same call with the rows left out that are withdrawn: whole files, and what stands in others. It is this
        call itself where none of them can enter here."""
        names = sorted({(each.what, each.name) for each in withdrawals})
        withdrawn = tuple(each for each in names if self.step.takes_in(self.config, self.files, *each))
        if not withdrawn:
            return self
        gone = [name for what, name in withdrawn if what == "source"]
        kept = {role: tuple(each for each in given if not _is_of(each, gone)) for role, given in self.inputs.items()}
        return replace(self, inputs={role: given for role, given in kept.items() if given}, withdrawn=withdrawn)

    def fingerprint(self, inputs: Mapping[str, tuple[str, ...]]) -> str:
        """The identity of this computation, given the version ids of its inputs by role."""
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


def _by_role(
    inputs: Mapping[str, tuple[Incoming, ...]], part_of: Callable[[Incoming], _Part | None]
) -> dict[str, tuple[_Part, ...]]:
    """What `part_of` gives of the inputs, by role; without those of which it gives nothing."""
    found = {
        role: tuple(part for each in given if (part := part_of(each)) is not None) for role, given in inputs.items()
    }
    return {role: parts for role, parts in found.items() if parts}


def readings(
    store: "Store", heads: Mapping[AssetName, "Head"], call: StepCall, book: "Book | None" = None
) -> Iterator[tuple[Incoming, Reading]]:
    """All that a call reads, each with where it is read."""
    for role, given in call.inputs.items():
        for number, each in enumerate(given):
            yield each, Reading(store, heads, call.part, call.step.name, role, number, book)


def _is_of(incoming: Incoming, names: Iterable[str]) -> bool:
    path = incoming.file
    return path is not None and any(is_named(path, name) for name in names)
