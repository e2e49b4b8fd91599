"""The figures of a run, one row per policy, as the terminal, the Prefect UI and `halter status` show them.

Whose judgement a figure is stands in the record of its own evaluation, and whether it still holds in the plan: a config
that names another judge today changes neither until the policy is evaluated again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError

from data_store.estimate import Estimate
from data_store.figures import FEW, NOT_MEASURED, figure, interval, marks, named
from data_store.names import AssetName
from data_store.records import Head, RunSummary
from flows.recipe.judge_rows import judges_of
from flows.recipe.plan import Plan
from flows.session import Session
from flows.shown.status import Cell, status_cells
from tasks.engine.call import StepCall
from tasks.engine.side_by_side import fits
from tasks.evaluation_judges.measures import JUDGE_MARK, against_in
from tasks.evaluation_judges.registry import measures_of
from tasks.evaluations.evaluation import Measure
from tasks.evaluations.registry import columns
from tasks.judging.annotators import AnnotatorConfig

Row = dict[str, object]
T = TypeVar("T")


COLUMNS: Mapping[str, Measure] = {metric.column: metric for metric in columns()}
"""Of every run; the judges of evaluations that a config names have more, see `columns_of`."""
OTHERS = {
    "state": "Whether the figures are those of today's config and inputs: fresh, or why they are not",
    "seconds": "What the computing of this iteration took",
}
NOBODY, UNKNOWN = "reward models", "unknown"
NO_JUDGE = "nobody judges whom nothing was trained on: evaluate.judges names such a judge (docs/is-it-better.md)"


def judge_of(recorded: Mapping[str, object]) -> str:
    """Who judged, by what the record of an evaluation says of its annotator."""
    config = recorded.get("config")
    annotator = config.get("annotator", UNKNOWN) if isinstance(config, Mapping) else UNKNOWN
    if annotator is None:
        return NOBODY
    try:
        found = AnnotatorConfig.model_validate(annotator)
    except ValidationError:
        return UNKNOWN
    return f"simulated, world {found.world_seed}" + (f", seed {found.seed}" if found.seed else "")


def columns_of(judges: Iterable[str], metrics: Iterable[str] = ()) -> dict[str, Measure]:
    """The columns of a run with these judges of evaluations. `metrics`: the figures that there are, which tell what
    policies were compared with beside SFT."""
    against = against_in(metrics)
    theirs = [measure for judge in judges for measure in measures_of(judge, against=against)]
    return {**COLUMNS, **{measure.column: measure for measure in theirs if measure.column}}


def judges_in(rows: Iterable[Row]) -> list[str]:
    """The judges of evaluations that rows have figures of."""
    found = (row.get("judges") for row in rows)
    return list(dict.fromkeys(name for names in found if isinstance(names, tuple) for name in names))


def _columns_in(rows: Iterable[Row]) -> dict[str, Measure]:
    rows = list(rows)
    found = (row.get("estimates") for row in rows)
    return columns_of(judges_in(rows), [name for names in found if isinstance(names, Mapping) for name in names])


def judged_by(rows: Iterable[Row]) -> str:
    """Whose judgement the figures are, in words."""
    rows = list(rows)
    judges: dict[str, list[str]] = {}
    for row in rows:
        judges.setdefault(str(row["judge"]), []).append(str(row["policy"]))
    if not judges:
        return "nothing is evaluated yet"
    beside = judges_in(rows)
    more = f"; what ends with @ is judged by {', '.join(beside)}, which nothing was trained on" if beside else ""
    if list(judges) == [NOBODY]:
        return f"no annotator: judged by the run's own reward models{more or ' alone'}"
    if len(judges) == 1:
        return f"judged by {_in_words(*judges)}{more}"
    said = "; ".join(f"{_in_words(who)} for {', '.join(of)}" for who, of in judges.items())
    return f"several judges: {said}{more}"


def _in_words(judge: str) -> str:
    if judge in (NOBODY, UNKNOWN):
        return {NOBODY: "the run's own reward models", UNKNOWN: "somebody whom the record does not name"}[judge]
    return f"a simulated annotator ({judge.removeprefix('simulated, ')})"


def summary_rows(session: Session, cells: Sequence[Cell] | None = None) -> list[Row]:
    """One row per evaluated policy of today's plan. Figures that were not measured are «–»; `estimates` says by metric
    of how many they are, their intervals, and who judged; `state` is fresh, or what the evaluation's step is instead,
    and `why` says so; seconds are those of the part's computing.

    `cells` is what `status_cells` says of the plan, where the caller knows it.
    """
    store, plan = session.store, session.plan
    heads = store.heads()
    runs: dict[str, RunSummary] = {run.run.run_id: run for run in store.runs()}
    states = {(cell.part, cell.step): cell for cell in cells or status_cells(store, plan)}
    seconds: dict[str, float] = {}
    for (part, _), call in plan.items():
        run_ids = {heads[asset].run_id for asset in call.outputs.values() if asset in heads}
        for run_id in run_ids - {None}:
            seconds[part] = seconds.get(part, 0.0) + runs[str(run_id)].metrics.get("seconds", 0.0)
    rows: list[Row] = []
    for part in ("V0", *session.parts):
        for step, name, label in evaluations_of(plan, part, session.config.final_stage):
            head = heads.get(AssetName("report", name, part))
            if head is None or head.run_id is None:
                continue
            run, judges = runs[head.run_id], judges_of(plan, part, step)
            judged = judged_in(judges, heads, runs).values()
            measured = with_judges(run.metrics, (each.metrics for each in judged))
            known = with_judges(run.estimates, (each.estimates for each in judged))
            estimates = {name: each.as_json() for name, each in known.items()}
            behind = [states[part, step], *(states[call.key] for call in judges.values())]
            cell = next((each for each in behind if each.state != "fresh"), behind[0])
            row: Row = {"policy": label, "state": cell.state}
            row |= {
                title: metric.form(measured[metric.name]) if metric.name in measured else NOT_MEASURED
                for title, metric in columns_of(judges, measured).items()
            }
            row["seconds"] = figure(round(seconds.get(part, 0.0))) if name == "evaluation" else ""
            why = cell.reason if cell is behind[0] else f"{cell.step}: {cell.reason}"
            row |= {"judge": judge_of(run.run.config), "judges": tuple(judges), "why": why, "estimates": estimates}
            rows.append(row)
    return rows


def judged_in(
    judges: Mapping[str, StepCall], heads: Mapping[AssetName, Head], runs: Mapping[str, RunSummary]
) -> dict[str, RunSummary]:
    """Judge of evaluations → the run in which its call judged, as far as it is there."""
    made = ((judge, heads.get(asset)) for judge, call in judges.items() for asset in call.outputs.values())
    return {judge: runs[str(head.run_id)] for judge, head in made if head is not None and head.run_id in runs}


def with_judges(own: Mapping[str, T], theirs: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """An evaluation's figures and those of judges; a judge's step has others, such as how long it took, which are not
    the policy's."""
    return {**own, **{name: each for figures in theirs for name, each in figures.items() if JUDGE_MARK in name}}


def evaluations_of(plan: Plan, part: str, stage: str) -> list[tuple[str, str, str]]:
    """(step, asset, policy) of a part's evaluations, of which each policy that the part makes has one."""
    after = f"{part} + {stage.upper()}" if (part, stage) in plan else part
    found = [
        ("evaluate_sampled", "evaluation-sampled", f"{part} before {stage.upper()}"),
        ("evaluate", "evaluation", after),
    ]
    return [each for each in found if (part, each[0]) in plan]


def tables_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The figures with their intervals, in as many tables as fit a page each; those that matter most come first, and
    those that no policy has are left out behind them. Who judged is said above, by `judged_by`, and below, by
    `legend`."""
    if not rows:
        return []
    known = _columns_in(rows)
    first = [title for title, metric in known.items() if metric.first and (title in COLUMNS or _is_any(rows, title))]
    rest = [title for title, metric in known.items() if not metric.first and _is_any(rows, title)]
    shown = [*first, *rest]
    written = [{**row, **{title: _cell(row, title, known[title]) for title in shown}} for row in rows]
    tables: list[list[Row]] = []
    names = ["policy", "state"]
    for title in [*shown, "seconds"]:
        if len(names) > 1 and not fits(_only(written, [*names, title])):
            tables.append(_only(written, names))
            names = ["policy"]
        names.append(title)
    return [*tables, _only(written, names)]


def _is_any(rows: Iterable[Row], title: str) -> bool:
    return any(row.get(title, NOT_MEASURED) != NOT_MEASURED for row in rows)


def _only(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    return [{name: row[name] for name in names} for row in rows]


def _cell(row: Row, title: str, metric: Measure) -> object:
    """A figure with its interval and what must be known of it."""
    value, found = row.get(title, NOT_MEASURED), estimate_of(row, metric.name)
    return value if found is None else with_interval(str(value), found, metric)


def estimate_of(row: Row, metric: str) -> Estimate | None:
    """What is known of a figure of a row beside its value."""
    estimates = row.get("estimates")
    found = estimates.get(metric) if isinstance(estimates, Mapping) else None
    return None if found is None else Estimate(**found)


def with_interval(value: str, of: Estimate, metric: Measure) -> str:
    """A figure that is written already, with its interval and its marks."""
    bounds = [interval(of.low, of.high, metric.form)] if of.low is not None and of.high is not None else []
    return " ".join([value, *bounds, *marks(of.n, of.low, metric.chance)])


def legend(rows: Sequence[Row]) -> list[str]:
    """How the tables are read: of how many items each figure is, who judged it, and what the marks say."""
    counts: dict[str, list[str]] = {}
    judges: dict[str, list[str]] = {}
    for title, metric in _columns_in(rows).items():
        found = [each for row in rows if (each := estimate_of(row, metric.name)) is not None]
        if found:
            least, most = min(each.n for each in found), max(each.n for each in found)
            counts.setdefault(figure(least) if least == most else f"{figure(least)}–{figure(most)}", []).append(title)
        for judge in dict.fromkeys(each.judge for each in found if each.judge):
            judges.setdefault(judge, []).append(title)
    if not counts:
        return []
    said = "; ".join(f"{n}: {', '.join(titles)}" for n, titles in counts.items())
    lines = [f"with 95 % intervals; n is {said}"]
    lines += [f"by {named(judge)}: {', '.join(titles)}" for judge, titles in judges.items()]
    shown = " ".join(str(value) for table in tables_of(rows) for row in table for value in row.values()).split()
    meaning = {"few": f"n is below {FEW}", "chance": "no better than guessing, as far as the interval tells"}
    if not judges_in(rows) and all(row["judge"] == NOBODY for row in rows):
        lines.append(NO_JUDGE)
    return [*lines, *(f"{mark}: {means}" for mark, means in meaning.items() if mark in shown)]


def outdated(rows: Iterable[Row]) -> list[str]:
    """A line for each policy whose figures are not those of today's plan."""
    found = [(f"{row['policy']} is {row['state']}", row["why"]) for row in rows if row["state"] != "fresh"]
    return [f"{said}: {why}" if why else said for said, why in found]  # of what was ended from outside nobody knows why


def meanings() -> list[tuple[str, str]]:
    """(column, what it means) of all columns."""
    return [*((title, metric.meaning) for title, metric in COLUMNS.items()), *OTHERS.items()]
