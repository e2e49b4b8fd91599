"""The grid of a run: each step of each part is fresh, stale, missing, failed or running, with one headline figure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from data_store.records import RunSummary
from data_store.store import Store
from flows.plan import Plan
from tasks.step import StepCall

HEADLINES = {
    "import_data": "rows/documents",
    "filter_corpus": "kept",
    "train_tokenizer": "vocab_size",
    "fit_context": "dropped",
    "pretrain": "loss",
    "sft": "loss",
    "collect_preferences": "pairs",
    "train_safety_reward": "accuracy/all",
    "train_helpfulness_reward": "accuracy/all",
    "rejection_sample": "reward/max_minus_median",
    "synthesize_gatt": "dialogues",
    "fine_tune": "loss",
    "ppo": "best_validation_reward",
    "evaluate": "win_rate",
    "evaluate_sampled": "win_rate",
}


@dataclass(frozen=True)
class Cell:
    """One step of one part. `figure` is its headline metric; `reason` says why it is not fresh."""

    part: str
    step: str
    state: str
    reason: str
    metric: str
    figure: float | None
    outputs: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def status_cells(store: Store, plan: Plan) -> list[Cell]:
    """Every cell of the plan. Stale is closed transitively: what a stale step feeds is stale, in later iterations
    too."""
    heads = store.heads()
    runs = {run.run.run_id: run for run in store.runs()}
    newest: dict[tuple[str, str], RunSummary] = {}
    for run in runs.values():
        key = (run.run.part, run.run.step)
        if key not in newest or run.run.started_at > newest[key].run.started_at:
            newest[key] = run
    makers: dict[tuple[str, str], RunSummary] = {}
    for key, call in plan.items():
        found = {heads[asset].run_id for asset in call.outputs.values() if asset in heads}
        known = [runs[run_id] for run_id in found if run_id in runs]
        if known:
            makers[key] = max(known, key=lambda run: run.run.started_at)
    changed = {
        run.run.run_id
        for key, run in makers.items()
        if run.run.config != plan[key].recipe() or _rewired(store, plan[key], run)
    }
    stale = store.stale(changed)
    cells = []
    for key, call in plan.items():
        maker, last = makers.get(key), newest.get(key)
        reasons = [stale[asset] for asset in call.outputs.values() if asset in stale]
        state: str
        if (
            last is not None
            and last.state in ("failed", "crashed", "cancelled")
            and (maker is None or last.run.started_at > maker.run.started_at)
        ):
            state, reason = last.state, last.detail
        elif last is not None and last.state == "running":
            state, reason = "running", f"since {last.run.started_at:%H:%M:%S} UTC, or cut off then"
        elif maker is None:
            state, reason = "missing", "not made yet"
        elif reasons:
            state, reason = "stale", reasons[0]
        else:
            state, reason = "fresh", ""
        metric = HEADLINES[call.step.name]
        figure = maker.metrics.get(metric) if maker else None
        made = {role: heads[asset].version_id for role, asset in call.outputs.items() if asset in heads}
        cells.append(Cell(*key, str(state), reason, metric, figure, made))
    return cells


def _rewired(store: Store, call: StepCall, run: RunSummary) -> bool:
    """Whether the plan gives the step other assets to read than its run read."""
    read: dict[str, set[str]] = {}
    for edge in store.lineage(next(iter(call.outputs.values()))).inputs_of(run.run.run_id):
        if edge.asset.kind != "source":
            read.setdefault(edge.role, set()).add(str(edge.asset))
    return read != {role: {str(asset) for asset in assets} for role, assets in call.inputs.items()}


def stale_keys(cells: list[Cell]) -> Mapping[tuple[str, str], Cell]:
    """The cells that a run would compute anew or for the first time."""
    return {(cell.part, cell.step): cell for cell in cells if cell.state != "fresh"}
