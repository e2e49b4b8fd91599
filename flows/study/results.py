"""What a study has found: one row a variant, each figure the mean over its seeds with an interval, and what the variant
cost beyond what it shares with the others."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from data_store.estimate import Estimate
from data_store.figures import NOT_MEASURED, figure, interval, seconds
from data_store.incoming.sharing import computed_here
from data_store.layout import MARKER
from data_store.names import AssetName
from data_store.records import RunSummary
from data_store.store import Store
from flows.recipe.config import RunConfig
from flows.recipe.judge_rows import judges_of
from flows.recipe.places import FOUNDATION
from flows.recipe.plan import parts_of, plan_today, seed_up_to_v0
from flows.session import store_root
from flows.shown.status import status_cells
from flows.shown.summary import columns_of, judge_of, judged_in, with_judges
from flows.study.config import Study, Variant
from tasks.evaluation_judges.measures import JUDGE_MARK
from tasks.evaluations.evaluation import Measure
from tasks.pretrain import pretrain

# Two-sided 95 % points of Student's t for 1 … 29 degrees of freedom (Fisher and Yates, table III).
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval, t(n - 1) · s / √n to each side; raises ValueError for less than two values, and
    for more than the table has."""
    if not 2 <= len(values) <= len(T_95) + 1:
        raise ValueError(f"{len(values)} values: an interval is made of 2 to {len(T_95) + 1}")
    mean = statistics.fmean(values)
    half = T_95[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, len(values), mean - half, mean + half)


@dataclass(frozen=True)
class RunResult:
    """What one run came to: the evaluation of its last policy (empty where that is not there, or not of today's
    config), how well each figure is known by itself, who judged, how many of its steps and seconds were computed for
    it, and how many it shares; of a run that pretrains also the figures of that, where they are of today's config."""

    run: str
    seed: int
    v0_seed: int
    metrics: Mapping[str, float]
    estimates: Mapping[str, Estimate]
    judge: str
    computed: int
    computed_seconds: float
    shared: int
    shared_seconds: float
    missing: int
    pretrained: Mapping[str, float] = field(default_factory=dict)
    pretrained_estimates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One variant of the table."""

    label: str
    runs: tuple[RunResult, ...]

    @property
    def finished(self) -> tuple[RunResult, ...]:
        """The runs that have been evaluated."""
        return tuple(run for run in self.runs if run.metrics)

    def values(self, metric: str) -> list[float]:
        """A metric of each finished run that measured it."""
        return [run.metrics[metric] for run in self.finished if metric in run.metrics]

    def estimate(self, metric: str, *, pretrained: bool = False) -> Estimate | None:
        """A metric over the seeds, n being their number; of one seed alone as its evaluation knows it, n being that of
        prompts or pairs, or of documents in the place of an evaluation, of what was `pretrained`. None where no run
        measured it."""
        measured = [
            (run.pretrained, run.pretrained_estimates) if pretrained else (run.metrics, run.estimates)
            for run in self.runs
        ]
        found = [(metrics[metric], known.get(metric)) for metrics, known in measured if metric in metrics]
        if len(found) > 1:
            return over_seeds([value for value, _ in found])
        return next((known or Estimate(value, 1) for value, known in found), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values: every metric with mean, interval and n, and each seed's value."""
        found = {name: self.estimate(name) for name in sorted({name for run in self.finished for name in run.metrics})}
        metrics = {
            name: {**each.as_json(), "seeds": self.values(name)} for name, each in found.items() if each is not None
        }
        return {"variant": self.label, "metrics": metrics, "runs": [asdict(run) for run in self.runs]}


def rows_of(study: Study) -> list[Row]:
    """All variants, as their stores are now; nothing is written."""
    return [_row(variant) for variant in study.variants]


def _row(variant: Variant) -> Row:
    return Row(variant.label, tuple(_result(config) for config in variant.runs))


def _result(config: RunConfig) -> RunResult:
    root = store_root(config.name)
    if not (root / MARKER).exists():
        return RunResult(config.name, config.seed, seed_up_to_v0(config), {}, {}, "", 0, 0.0, 0, 0.0, 1)
    store = Store.open(root)
    with store.one_state():
        plan = plan_today(config, store)
        cells = {(cell.part, cell.step): cell for cell in status_cells(store, plan)}
        heads, runs = store.heads(), {run.run.run_id: run for run in store.runs()}
        here = computed_here(store)
    made = {key: heads[asset].run_id for key, call in plan.items() for asset in call.outputs.values() if asset in heads}
    pretrained = _pretrained({key: cell.state for key, cell in cells.items()}, made, runs)
    took: dict[bool, list[float]] = {True: [], False: []}
    for run_id in {run_id for run_id in made.values() if run_id is not None}:
        took[run_id in here].append(runs[run_id].metrics.get("seconds", 0.0))
    part = ("V0", *parts_of(config, ()))[-1]
    head = heads.get(AssetName("report", "evaluation", part))
    is_current = head is not None and head.run_id is not None and cells[part, "evaluate"].state == "fresh"
    evaluated = runs[str(head.run_id)] if head is not None and is_current else None
    judges = judges_of(plan, part, "evaluate").items()
    fresh = {judge: call for judge, call in judges if cells[call.key].state == "fresh"}
    judged = judged_in(fresh, heads, runs).values()
    return RunResult(
        run=config.name,
        seed=config.seed,
        v0_seed=seed_up_to_v0(config),
        metrics={} if evaluated is None else with_judges(evaluated.metrics, (each.metrics for each in judged)),
        estimates={} if evaluated is None else with_judges(evaluated.estimates, (each.estimates for each in judged)),
        judge="" if evaluated is None else judge_of(evaluated.run.config),
        computed=len(took[True]),
        computed_seconds=sum(took[True]),
        shared=len(took[False]),
        shared_seconds=sum(took[False]),
        missing=sum(cell.state != "fresh" for cell in cells.values()),
        pretrained={} if pretrained is None else pretrained.metrics,
        pretrained_estimates={} if pretrained is None else pretrained.estimates,
    )


def _pretrained(
    states: Mapping[tuple[str, str], str], made: Mapping[tuple[str, str], str | None], runs: Mapping[str, RunSummary]
) -> RunSummary | None:
    key = FOUNDATION, pretrain.name
    return runs.get(str(made.get(key))) if states.get(key) == "fresh" else None


def tables(rows: Sequence[Row]) -> tuple[list[dict[str, object]], list[dict[str, object]], list[dict[str, object]]]:
    """The figures that matter most, the others, and the costs, for people."""
    columns = columns_in(rows)
    first = [_figures(row, {title: of for title, of in columns.items() if of.first}) for row in rows]
    further = [_figures(row, {title: of for title, of in columns.items() if not of.first}) for row in rows]
    return first, further if further and len(further[0]) > 2 else [], [_costs(row) for row in rows]


def columns_in(rows: Iterable[Row]) -> dict[str, Measure]:
    """The columns that some run has a figure for, those of judges of evaluations among them."""
    names = {name for row in rows for run in row.finished for name in run.metrics}
    judges = sorted({name.partition(JUDGE_MARK)[2] for name in names if JUDGE_MARK in name})
    return {title: of for title, of in columns_of(judges, sorted(names)).items() if of.name in names}


def _figures(row: Row, columns: Mapping[str, Measure]) -> dict[str, object]:
    """One row of a table: «0.53 .41–.65», and of one seed «0.53 .41–.65 (80)», which is n."""
    found: dict[str, object] = {"variant": row.label, "seeds": f"{len(row.finished)} of {len(row.runs)}"}
    for title, measure in columns.items():
        of, form = row.estimate(measure.name), measure.form
        found[title] = NOT_MEASURED if of is None else form(of.value)
        if of is not None and of.low is not None and of.high is not None:
            found[title] = f"{form(of.value)} {interval(of.low, of.high, form)}"
        if of is not None and len(row.finished) == 1 and of.n > 1:
            found[title] = f"{found[title]} ({figure(of.n)})"
    return found


def _costs(row: Row) -> dict[str, object]:
    count = {name: sum(getattr(run, name) for run in row.runs) for name in ("computed", "shared", "missing")}
    return {
        "variant": row.label,
        "steps computed": count["computed"],
        "took": seconds(sum(run.computed_seconds for run in row.runs)),
        "steps shared": count["shared"],
        "these took": seconds(sum(run.shared_seconds for run in row.runs)),
        "steps to do": count["missing"],
    }


def saved_in_words(rows: Sequence[Row]) -> str:
    """What sharing has saved, over all variants."""
    own = sum(run.computed_seconds for row in rows for run in row.runs)
    shared = sum(run.shared_seconds for row in rows for run in row.runs)
    computed = sum(run.computed for row in rows for run in row.runs)
    count = computed + sum(run.shared for row in rows for run in row.runs)
    if not count:
        return "nothing is computed yet"
    return (
        f"computed for this study: {computed} of {count} steps in {seconds(own)}; each variant by itself would have "
        f"taken {seconds(own + shared)}"
    )


def interval_in_words(rows: Sequence[Row]) -> str:
    """What the intervals are of, and whose judgement the figures are."""
    judges = sorted({run.judge for row in rows for run in row.finished})
    who = f"judge: {', '.join(judges)}" if judges else "nothing is evaluated yet"
    counts = sorted({len(row.finished) for row in rows} - {0})
    told = []
    if several := [str(count) for count in counts if count > 1]:
        one = any(len({run.v0_seed for run in row.finished}) == 1 < len(row.finished) for row in rows)
        what = "seeds from V1 on, those of a variant with one V0," if one else "seeds"
        told.append(f"mean over {' or '.join(several)} {what} with the 95 % interval of the mean by Student's t")
    if 1 in counts:
        told.append(
            "of one seed alone the 95 % interval is over the (n) prompts or pairs of its evaluation: what another seed "
            "would change is not known"
        )
    return "; ".join([*told, who])
