"""A bench for the tests of the tasks: step calls, step runs and their outputs in a few words."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from data_store.names import AssetName
from data_store.rows import ROW_KINDS
from data_store.store import Store
from tasks.engine.call import StepCall
from tasks.engine.execute import Outcome, execute
from tasks.engine.processes import Workers
from tasks.engine.step import Output, Step, StepInput, StepRun
from tasks.incoming.attacked import Attacked
from tasks.incoming.files import File
from tasks.incoming.stored import Asset

if TYPE_CHECKING:
    from models.samplers.config import VllmConfig

NOT_SAMPLED = dict.fromkeys(("token_ids", "finished", "tokenizer"))
"""What a row says of an answer that was not sampled here, as read back."""
PAIR_NOT_SAMPLED = dict.fromkeys(("token_ids_a", "token_ids_b", "finished_a", "finished_b", "tokenizer"))


def call_of(
    step: Step,
    config: BaseModel,
    *,
    name: str = "",
    part: str = "V1",
    seed: int = 7,
    inputs: Mapping[str, tuple[str, ...]] | None = None,
    sources: Mapping[str, tuple[Path, ...]] | None = None,
    attacks: tuple[str, ...] = (),
) -> StepCall:
    """A call whose outputs are called `name` (and `name-<role>` where there are several)."""
    roles = list(step.outputs)
    names = {role: (name or step.name).replace("_", "-") + ("" if len(roles) == 1 else f"-{role}") for role in roles}
    return StepCall(
        step=step,
        part=part,
        config=config,
        seed=seed,
        inputs={
            **{role: tuple(Asset(AssetName.parse(each)) for each in assets) for role, assets in (inputs or {}).items()},
            **{role: tuple(map(File, paths)) for role, paths in (sources or {}).items()},
            **({"attacks": tuple(map(Attacked, attacks))} if attacks else {}),
        },
        outputs={role: AssetName(step.outputs[role].kind, each, part) for role, each in names.items()},
    )


@dataclass
class Bench:
    """One store, the worker process, and a ledger on which steps note that they computed."""

    store: Store
    workers: Workers
    ledger: Path

    def execute(self, call: StepCall, **options: Any) -> Outcome:
        """Bring one call up to date."""
        return execute(self.store, self.workers, call, **options)

    def text(self, asset: str) -> str:
        """What an asset's head says."""
        head = self.store.head(AssetName.parse(asset))
        assert head is not None, f"{asset} has no head"
        return (self.store.checkout(head.version_id) / "text.txt").read_text()

    def computed(self) -> list[str]:
        """One line per computation."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def states(self, step: str) -> list[str]:
        """The states of a step's runs, oldest first."""
        return [run.state for run in reversed(self.store.runs(step=step))]


def step_run(
    folder: Path,
    *,
    inputs: Mapping[str, tuple[str, list[dict[str, Any]]] | Path] | None = None,
    outputs: Mapping[str, Output] | None = None,
    part: str = "V1",
    seed: int = 7,
    vllm: "VllmConfig | None" = None,
    processes: int | None = None,
) -> StepRun:
    """What a step function sees: `inputs` are rows with their kind, or the path of a folder or file."""
    given = {}
    for role, content in (inputs or {}).items():
        if isinstance(content, Path):
            path = content
        else:
            kind, rows = content
            path = folder / "in" / role
            path.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=ROW_KINDS[kind].schema), path / "rows.parquet")
        given[role] = (StepInput(f"dataset/{role}@{part}", f"version-of-{role}", path),)
    return StepRun(
        name="little",
        part=part,
        seed=seed,
        inputs=given,
        outputs=outputs or {},
        folder=folder,
        vllm=vllm,
        processes=processes,
    )


def written(folder: Path, role: str) -> list[dict[str, Any]]:
    """The rows that a step run has written."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "out" / role / "rows.parquet").to_pylist()
    return rows


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
    """Wait until the condition holds; fails naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for: {what}"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes that the main thread of this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs (one that has ended and waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # it was reaped between the opening and the reading
        return False
    except FileNotFoundError:
        return _answers(pid) if not Path("/proc/self").exists() else False


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
