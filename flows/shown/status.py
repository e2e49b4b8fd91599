"""The grid of a run: each step of each part is fresh, stale, tainted, missing, failed, cancelled, crashed, running
or waiting for people, with one headline figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

from data_store.estimate import Estimate
from data_store.incoming.looks import BehindHeads, behind_heads
from data_store.names import AssetName
from data_store.records import Head, RunInput, RunSummary
from data_store.store import Store
from flows.gates import stops_of
from flows.recipe.changes import why_changed
from flows.recipe.plan import Plan
from flows.recipe.watch_config import GateConfig
from flows.withdrawals import taint_today, tainted_cells
from tasks.engine.alone import is_at_work
from tasks.engine.call import StepCall
from tasks.engine.code_today import CodeToday, few
from tasks.engine.execute import fingerprint_of
from tasks.engine.outside import Looker, differences, hash_sources, in_words
from tasks.engine.reading import Outside, Wait
from tasks.incoming.judged import waits_of


@dataclass(frozen=True)
class Cell:
    """One step of one part. `figure` is its headline metric, `estimate` the same with its interval; `reason` says why
    it is not fresh; `gate` what of a fresh step does not pass a gate, so that the run does not go past it; `other_code`
    names the source files that are not the ones that made it: that alone makes nothing stale."""

    part: str
    step: str
    state: str
    reason: str
    metric: str
    figure: float | None
    outputs: dict[str, str]
    gate: str = ""
    other_code: tuple[str, ...] = ()
    estimate: Estimate | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self) | {"estimate": None if self.estimate is None else self.estimate.as_json()}


@dataclass(frozen=True)
class Standing:
    """Where a run stands. `nothing_to_do`: each step would be taken up as it is, and no gate holds one, so that a run
    would read everything and write nothing."""

    cells: list[Cell]
    nothing_to_do: bool


def status_cells(store: Store, plan: Plan, gates: Sequence[GateConfig] = ()) -> list[Cell]:
    """Every cell of the plan. Stale is closed transitively: what a stale step feeds is stale, in later iterations
    too. Tainted is what withdrawn rows reached; it is stale or will be once what it reads is redone."""
    return look_at(store, plan, gates).cells


def look_at(store: Store, plan: Plan, gates: Sequence[GateConfig] = ()) -> Standing:
    """Where the run stands, by one state of the catalog, and by the files outside and the code as they are now. The
    catalog is not written."""
    hash_sources(store, plan.values())
    with store.one_state():
        facts = _Facts.of(store, plan)
        cells = _cells(store, plan, gates, facts)
    settled = all(cell.state == "fresh" and not cell.gate for cell in cells)
    return Standing(cells, settled and all(facts.is_taken_up(store, call) for call in plan.values()))


Key = tuple[str, str]


@dataclass(frozen=True)
class _Facts:
    """What the catalog and the world outside say: heads, runs (newest first) by id, the run behind each cell, what
    these read, and what all calls would read from outside now."""

    heads: Mapping[AssetName, Head]
    runs: Mapping[str, RunSummary]
    makers: Mapping[Key, RunSummary]
    behind: BehindHeads
    outside: Mapping[Key, tuple[Outside, ...]]

    @cached_property
    def ages(self) -> Mapping[str, int]:
        """Run → its place among all, the newest being 0."""
        return {run_id: number for number, run_id in enumerate(self.runs)}

    @classmethod
    def of(cls, store: Store, plan: Plan) -> "_Facts":
        heads = store.heads()
        runs = {run.run.run_id: run for run in store.runs()}
        makers: dict[Key, RunSummary] = {}
        for key, call in plan.items():
            found = {heads[asset].run_id for asset in call.outputs.values() if asset in heads}
            known = [run for run_id, run in runs.items() if run_id in found]
            if known:
                makers[key] = known[0]
        with Looker.open(store, heads, plan.values()) as looker:
            outside = {key: looker.look(call) for key, call in plan.items()}
        return cls(heads, runs, makers, behind_heads(store), outside)

    def read(self, key: Key) -> frozenset[RunInput]:
        """What the run behind a cell read."""
        return self.behind.inputs.get(self.makers[key].run.run_id, frozenset())

    def changes(self, call: StepCall) -> str:
        """Why the run behind a cell is not what today's plan and today's files ask for; empty where it is."""
        maker, read = self.makers[call.key], self.read(call.key)
        reads: dict[str, set[AssetName]] = {}
        for entry in read:
            if entry.asset.kind != "source":
                reads.setdefault(entry.role, set()).add(entry.asset)
        is_other = maker.run.config != call.recipe() or _rewired(call, reads)
        sources = [entry for entry in read if entry.asset.kind == "source"]
        found = differences(self.outside[call.key], sources, self.behind.files)
        return "; ".join(
            [*([why_changed(maker.run.config, call)] if is_other else []), *([in_words(found)] if found else [])]
        )

    def is_taken_up(self, store: Store, call: StepCall) -> bool:
        """Whether `tasks.engine.execute` would find the call's outputs to be its finished run's, whole and still the
        heads, and have nothing to write."""
        assets = [asset for asset_list in call.assets.values() for asset in asset_list]
        made = {self.heads[asset].run_id for asset in call.outputs.values() if asset in self.heads}
        if any(asset not in self.heads for asset in (*assets, *call.outputs.values())) or len(made) != 1:
            return False
        inputs = [
            RunInput(role, asset, self.heads[asset].version_id, self.heads[asset].run_id)
            for role, named in call.assets.items()
            for asset in named
        ]
        for each in self.outside[call.key]:
            if each.version_id is None:
                return False
            inputs.append(RunInput(each.role, each.asset, each.version_id, None))
        fingerprint = fingerprint_of(call, tuple(inputs))
        finished = [r for r in self.runs.values() if r.run.fingerprint == fingerprint and r.state == "succeeded"]
        newest = max(finished, key=lambda run: run.seq, default=None)
        if newest is None or made != {newest.run.run_id} or set(inputs) != self.read(call.key):
            return False
        return all(map(store.objects.exists, self.behind.content.get(newest.run.run_id, ())))


def _cells(store: Store, plan: Plan, gates: Sequence[GateConfig], facts: _Facts) -> list[Cell]:
    newest: dict[Key, RunSummary] = {}
    for run in facts.runs.values():
        newest.setdefault((run.run.part, run.run.step), run)
    changed = {key: why for key in facts.makers if (why := facts.changes(plan[key]))}
    looked_at = {each.asset for found in facts.outside.values() for each in found}
    stale = store.stale({facts.makers[key].run.run_id for key in changed}, looked_at)
    waits = waits_of(store, plan)
    tainted = tainted_cells(store, plan, taint_today(store))
    code = CodeToday()
    cells = []
    for key, call in plan.items():
        maker = facts.makers.get(key)
        stale_by = [stale[asset] for asset in call.outputs.values() if asset in stale]
        reason = changed.get(key, "") or (stale_by[0] if stale_by else "")
        state, reason = _state(store, facts, call, newest.get(key), reason, tainted.get(key, ""), waits.get(key))
        metric = call.step.headline
        figure, estimate = (maker.metrics.get(metric), maker.estimates.get(metric)) if maker else (None, None)
        made = {role: facts.heads[asset].version_id for role, asset in call.outputs.items() if asset in facts.heads}
        stops = [] if maker is None or state != "fresh" else stops_of(gates, plan, *key, maker.metrics)
        gate = "; ".join(stop.found for stop in stops)
        other_code = () if maker is None else code.differs(maker.run.code_files)
        cells.append(Cell(*key, state, reason, metric, figure, made, gate, other_code, estimate))
    return cells


def _state(
    store: Store, facts: _Facts, call: StepCall, last: RunSummary | None, stale: str, tainted: str, wait: Wait | None
) -> tuple[str, str]:
    """State and reason of one cell. `last` is its newest run, whatever became of it."""
    maker, age = facts.makers.get(call.key), facts.ages
    if last is not None and last.state == "running" and is_at_work(store, last.run.fingerprint):
        return "running", f"since {last.run.started_at:%H:%M:%S} UTC"
    if maker is not None and not stale and not tainted:
        return "fresh", ""  # whatever was tried since then, the result of today's recipe is there
    if wait is not None:
        return "waiting", str(wait)
    if (
        last is not None
        and last.state != "succeeded"
        and last.run.config == call.recipe()
        and (maker is None or age[last.run.run_id] < age[maker.run.run_id])
    ):
        return _ended(last)
    if maker is None:
        return "missing", "not made yet"
    return ("tainted", tainted) if tainted else ("stale", stale)


def _ended(run: RunSummary) -> tuple[str, str]:
    """State and reason of a run that left no result. One that nobody works on any more was cut off."""
    if run.state == "running":
        return "crashed", f"cut off after {run.run.started_at:%H:%M:%S} UTC; the same command goes on"
    return run.state, run.detail


def _rewired(call: StepCall, read: Mapping[str, set[AssetName]]) -> bool:
    """Whether the plan gives the step other assets to read than its run read."""
    return dict(read) != {role: set(assets) for role, assets in call.assets.items()}


def other_code_in_words(cells: Sequence[Cell]) -> str:
    """One line on the steps whose result was made by other code than today's, and the files that differ; empty where
    there are none."""
    steps = [f"{cell.part} {cell.step}" for cell in cells if cell.other_code]
    files = sorted({path for cell in cells for path in cell.other_code})
    if not steps:
        return ""
    who = f"all {len(steps)} steps" if len(steps) == len(cells) else few(steps)
    return f"made by other code than today's, which makes nothing stale: {who} (what differs: {few(files)})"


def stale_keys(cells: list[Cell]) -> Mapping[tuple[str, str], Cell]:
    """The cells that a run would compute anew or for the first time."""
    return {(cell.part, cell.step): cell for cell in cells if cell.state != "fresh"}
