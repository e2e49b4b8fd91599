"""What a start of the recipe would do now: which steps it would take up, which it would compute and why, and where it
would stop. It starts nothing and writes nothing.

It goes through the plan as a run does, with heads of its own: what a step takes up is there for the next one, what it
computes is not known yet. A step that reads such a result may turn out to be finished all the same, where the content
comes out as it was; here it counts as one to compute, perhaps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from data_store.catalog.lineage import CHANGED
from data_store.figures import seconds
from data_store.names import AssetName
from data_store.records import FinishedRun, Head, RunInput
from data_store.store import Store
from flows.gates import is_needed, stops_of
from flows.recipe.plan import Plan, groups_of
from flows.recipe.watch_config import GateConfig
from flows.shown.status import Cell, status_cells
from tasks.engine.call import StepCall
from tasks.engine.execute import fingerprint_of
from tasks.engine.outside import Looker, hash_sources
from tasks.incoming.judged import Judged

Does = Literal["take up", "compute", "wait", "not reached"]


@dataclass(frozen=True)
class Foreseen:
    """One step of one part, and what a start `does` with it. `state`: as `halter status` has it, or «new» where the
    store has seen no run of it. `seconds`: what computing it took the last time, None where it never ended well.
    `gate`: what of it would stop the run there. `perhaps`: it is computed only where what it reads, which is made anew,
    comes out otherwise."""

    part: str
    step: str
    does: Does
    state: str
    reason: str
    seconds: float | None
    gate: str = ""
    perhaps: bool = False

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def foresee_new(plan: Plan) -> list[Foreseen]:
    """The same for a run that has no store yet."""
    return [Foreseen(*key, "compute", "new", "the run has no store yet", None) for key in plan]


def foresee(
    store: Store, plan: Plan, gates: Sequence[GateConfig] = (), cells: Sequence[Cell] | None = None
) -> list[Foreseen]:
    """Every step of the plan in the order of a run, by one state of the catalog and by the files outside as they are
    now. `cells`: the grid, where somebody has just looked at it."""
    hash_sources(store, plan.values())
    with store.one_state():
        grid = status_cells(store, plan, gates) if cells is None else cells
        return list(_Walk.of(store, plan, gates, grid).foreseen())


@dataclass
class _Walk:
    """A run that computes nothing. `heads`: where assets would point, as far as that is known; `stopped`: why the run
    would not go on."""

    store: Store
    plan: Plan
    gates: Sequence[GateConfig]
    cells: Mapping[tuple[str, str], Cell]
    took: Mapping[tuple[str, str], float]
    known: frozenset[tuple[str, str]]
    today: Mapping[AssetName, Head]
    heads: dict[AssetName, Head]
    stopped: str = ""

    @classmethod
    def of(cls, store: Store, plan: Plan, gates: Sequence[GateConfig], grid: Sequence[Cell]) -> "_Walk":
        cells = {(cell.part, cell.step): cell for cell in grid}
        runs, today = store.runs(), store.heads()
        took = {(r.run.part, r.run.step): r.metrics["seconds"] for r in reversed(runs) if "seconds" in r.metrics}
        known = frozenset((run.run.part, run.run.step) for run in runs)
        sources = {asset: head for asset, head in today.items() if asset.kind == "source"}
        return cls(store, plan, gates, cells, took, known, today, sources)

    def foreseen(self) -> Iterator[Foreseen]:
        with Looker.open(self.store, self.heads, self.plan.values()) as looker:
            for part in dict.fromkeys(part for part, _ in self.plan):
                for group in groups_of(self.plan, part):
                    found = [self._of(call, looker) for call in group]
                    yield from found
                    needed = {call.step.name for call in group if is_needed(self.plan, self.gates, call)}
                    waits = [each for each in found if each.does == "wait" and each.step in needed]
                    ends = [*waits, *(each for each in found if each.does == "take up" and each.gate)]
                    if ends and not self.stopped:
                        why = "waits for people" if ends[0].does == "wait" else "is at a gate"
                        self.stopped = f"{ends[0].step} of {ends[0].part} {why}"

    def _of(self, call: StepCall, looker: Looker) -> Foreseen:
        cell, took = self.cells[call.key], self.took.get(call.key)
        state = "new" if cell.state == "missing" and call.key not in self.known else cell.state
        if self.stopped:
            return Foreseen(*call.key, "not reached", state, self.stopped, took)
        anew = sorted(str(asset) for assets in call.assets.values() for asset in assets if asset not in self.heads)
        looks = looker.look(call)
        if lacking := [each for each in looks if each.version_id is None]:
            if call.of(Judged):
                return Foreseen(*call.key, "wait", state, cell.reason or "people have to judge first", took)
            reason = "; ".join(f"{each.what} {each.absent}" for each in lacking)
            return Foreseen(*call.key, "compute", state, reason, took)
        if call.of(Judged) and cell.state == "waiting":
            return Foreseen(*call.key, "wait", state, cell.reason, took)
        if anew:
            own = cell.reason if cell.state in ("stale", "tainted", "failed", "cancelled", "crashed") else ""
            reason = own or f"reads {', '.join(anew[:2])}{' …' if len(anew) > 2 else ''}, made anew"
            perhaps = cell.state in ("fresh", "stale") and CHANGED not in cell.reason
            return Foreseen(*call.key, "compute", state, reason, took, perhaps=perhaps)
        inputs = [
            RunInput(role, asset, self.heads[asset].version_id, self.heads[asset].run_id)
            for role, assets in call.assets.items()
            for asset in assets
        ]
        outside = [RunInput(each.role, each.asset, each.version_id, None) for each in looks if each.version_id]
        finished = self.store.find_finished(fingerprint_of(call, (*inputs, *outside)))
        if finished is None:
            reason = cell.reason or "what it made is no longer in the store whole"
            return Foreseen(*call.key, "compute", state, reason, took)
        return self._taken_up(call, finished, state, took)

    def _taken_up(self, call: StepCall, finished: FinishedRun, state: str, took: float | None) -> Foreseen:
        moved = False
        for asset, version in finished.outputs.values():
            self.heads[asset] = Head(asset, version, finished.run_id, 0, finished.finished_at, "foreseen")
            today = self.today.get(asset)
            moved = moved or today is None or (today.version_id, today.run_id) != (version, finished.run_id)
        metrics = {metric.name: metric.value for metric in finished.metrics if metric.step == 0}
        gate = "; ".join(stop.found for stop in stops_of(self.gates, self.plan, *call.key, metrics))
        reason = f"finished before, by run {finished.run_id[:12]}, which becomes the head again" if moved else ""
        return Foreseen(*call.key, "take up", state, reason, took, gate)


def computed(steps: Iterable[Foreseen]) -> list[tuple[str, str]]:
    """The places of those that a run would compute."""
    return [(step.part, step.step) for step in steps if step.does == "compute"]


def in_words(steps: Sequence[Foreseen]) -> str:
    """How many steps would be computed, and what that took where it was done before."""
    count = {does: sum(each.does == does for each in steps) for does in ("compute", "take up", "wait", "not reached")}
    computed = [each for each in steps if each.does == "compute"]
    timed = [each.seconds for each in computed if each.seconds is not None]
    told = f"{count['compute']} of {len(steps)} steps would be computed"
    if perhaps := sum(each.perhaps for each in computed):
        told += f" ({perhaps} of them only where what they read comes out otherwise)"
    told += f", {count['take up']} taken up"
    if count["wait"] or count["not reached"]:
        told += f", {count['wait']} would wait for people, {count['not reached']} would not be reached"
    if timed:
        told += f"; the last time {len(timed)} of the {len(computed)} took {seconds(sum(timed))}"
    return told
