"""The grid of a run: each step of each part is fresh, stale, tainted, missing, failed, cancelled, crashed, running
or waiting for people, with one headline figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from data_store.lineage import CHANGED
from data_store.names import AssetName
from data_store.records import RunSummary
from data_store.store import Store
from flows.changes import why_changed
from flows.gates import stops_of
from flows.plan import Plan
from flows.waiting import waits_of
from flows.watch_config import GateConfig
from flows.withdrawals import taint_today, tainted_cells
from tasks.execute import is_at_work
from tasks.step import StepCall

HEADLINES = {
    "import_data": "rows/documents",
    "filter_corpus": "kept",
    "train_tokenizer": "vocab_size",
    "fit_context": "dropped",
    "pretrain": "loss",
    "sft": "loss",
    "extend_prompts": "prompts/red_team",
    "draw_pairs": "pairs",
    "judge_pairs": "judged",
    "collect_preferences": "pairs",
    "train_safety_reward": "accuracy/all",
    "train_helpfulness_reward": "accuracy/all",
    "train_gold_reward": "accuracy/all",
    "rejection_sample": "reward/max_minus_median",
    "synthesize_gatt": "dialogues",
    "fine_tune": "loss",
    "ppo": "best_validation_reward",
    "dpo": "best_validation_accuracy",
    "evaluate": "win_rate",
    "evaluate_sampled": "win_rate",
}


@dataclass(frozen=True)
class Cell:
    """One step of one part. `figure` is its headline metric; `reason` says why it is not fresh; `gate` what of a fresh
    step does not pass a gate, so that the run does not go past it."""

    part: str
    step: str
    state: str
    reason: str
    metric: str
    figure: float | None
    outputs: dict[str, str]
    gate: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def status_cells(store: Store, plan: Plan, gates: Sequence[GateConfig] = ()) -> list[Cell]:
    """Every cell of the plan. Stale is closed transitively: what a stale step feeds is stale, in later iterations
    too. Tainted is what withdrawn rows reached; it is stale or will be once what it reads is redone."""
    heads = store.heads()
    runs = {run.run.run_id: run for run in store.runs()}  # newest first
    age = {run_id: number for number, run_id in enumerate(runs)}
    newest: dict[tuple[str, str], RunSummary] = {}
    for run in runs.values():
        newest.setdefault((run.run.part, run.run.step), run)
    makers: dict[tuple[str, str], RunSummary] = {}
    for key, call in plan.items():
        found = {heads[asset].run_id for asset in call.outputs.values() if asset in heads}
        known = [run for run_id, run in runs.items() if run_id in found]
        if known:
            makers[key] = known[0]
    read = _read(store, plan, makers)
    changed = {
        run.run.run_id
        for key, run in makers.items()
        if run.run.config != plan[key].recipe() or _rewired(plan[key], read.get(run.run.run_id, {}))
    }
    stale = store.stale(changed)
    waits = waits_of(store, plan)
    tainted = tainted_cells(store, plan, taint_today(store))
    cells = []
    for key, call in plan.items():
        maker, last = makers.get(key), newest.get(key)
        reasons = [stale[asset] for asset in call.outputs.values() if asset in stale]
        state: str
        if last is not None and last.state == "running" and is_at_work(store, last.run.fingerprint):
            state, reason = "running", f"since {last.run.started_at:%H:%M:%S} UTC"
        elif (
            maker is not None and not reasons and key not in tainted
        ):  # whatever was tried since then, the result of today's recipe is there
            state, reason = "fresh", ""
        elif key in waits:
            state, reason = "waiting", str(waits[key])
        elif (
            last is not None
            and last.state != "succeeded"
            and last.run.config == call.recipe()
            and (maker is None or age[last.run.run_id] < age[maker.run.run_id])
        ):
            state, reason = _ended(last)
        elif maker is None:
            state, reason = "missing", "not made yet"
        elif key in tainted:
            state, reason = "tainted", tainted[key]
        else:
            state, reason = "stale", why_changed(maker.run.config, call) if reasons[0] == CHANGED else reasons[0]
        metric = HEADLINES[call.step.name]
        figure = maker.metrics.get(metric) if maker else None
        made = {role: heads[asset].version_id for role, asset in call.outputs.items() if asset in heads}
        stops = [] if maker is None or state != "fresh" else stops_of(gates, plan, *key, maker.metrics)
        gate = "; ".join(stop.found for stop in stops)
        cells.append(Cell(*key, str(state), reason, metric, figure, made, gate))
    return cells


def _ended(run: RunSummary) -> tuple[str, str]:
    """State and reason of a run that left no result. One that nobody works on any more was cut off."""
    if run.state == "running":
        return "crashed", f"cut off after {run.run.started_at:%H:%M:%S} UTC; the same command goes on"
    return run.state, run.detail


Reads = Mapping[str, set[AssetName]]


def _read(store: Store, plan: Plan, makers: Mapping[tuple[str, str], RunSummary]) -> dict[str, Reads]:
    """What each maker read, by role, sources left out. One walk answers for all runs that it meets."""
    read: dict[str, dict[str, set[AssetName]]] = {}
    for key, maker in reversed(list(makers.items())):
        if maker.run.run_id in read:
            continue
        graph = store.lineage(next(iter(plan[key].outputs.values())))
        read |= {run_id: {} for run_id in (maker.run.run_id, *graph.runs)}
        for edge in graph.edges:
            if edge.direction == "input" and edge.asset.kind != "source":
                read[edge.run_id].setdefault(edge.role, set()).add(edge.asset)
    return dict(read)


def _rewired(call: StepCall, read: Reads) -> bool:
    """Whether the plan gives the step other assets to read than its run read."""
    return dict(read) != {role: set(assets) for role, assets in call.inputs.items()}


def stale_keys(cells: list[Cell]) -> Mapping[tuple[str, str], Cell]:
    """The cells that a run would compute anew or for the first time."""
    return {(cell.part, cell.step): cell for cell in cells if cell.state != "fresh"}
