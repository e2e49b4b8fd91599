"""Each evaluated policy with its figures, as the catalog has them, and with what it answered."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_store.catalog.whole import Measured, WholeCatalog
from data_store.names import AssetName
from data_store.records import RunSummary
from flows.recipe.plan import Plan
from flows.shown.answered import Answered, AnswerReader
from flows.shown.status import Cell
from flows.shown.summary import evaluations_of, judge_of
from tasks.evaluations.evaluation import Measure
from tasks.evaluations.registry import EVALUATIONS, EvaluateConfig

_CONFIG = EvaluateConfig(instruction_turns=64)  # the metrics of dialogues of so many turns
MEASURES: Mapping[str, Measure] = {metric.name: metric for each in EVALUATIONS for metric in each.metrics(_CONFIG)}
_PLACES = {name: number for number, name in enumerate(MEASURES)}


def place(metric: str) -> tuple[int, str]:
    """Where a metric stands among others: in the order in which evaluations measure, then by its name."""
    return _PLACES.get(metric, len(_PLACES)), metric


@dataclass(frozen=True)
class Evaluation:
    """A policy by its name in tables, and the step of a part that evaluated it."""

    label: str
    part: str
    step: str
    run: RunSummary


@dataclass(frozen=True)
class Policy(Evaluation):
    """A policy as its evaluation found it. `state` is fresh, or what the evaluation's step is instead, and `why` says
    so."""

    state: str
    why: str
    figures: Mapping[str, Measured]
    answered: Answered

    @property
    def judge(self) -> str:
        """Whom the record of the evaluation names."""
        return judge_of(self.run.run.config)


def evaluations(whole: WholeCatalog, plan: Plan, parts: Sequence[str], stage: str) -> list[Evaluation]:
    """Every evaluation of the plan that is there, in the order in which the policies were made."""
    found = []
    for part in ("V0", *parts):
        for step, name, label in evaluations_of(plan, part, stage):
            head = whole.heads.get(AssetName("report", name, part))
            if head is not None and head.run_id in whole.runs:
                found.append(Evaluation(label, part, step, whole.runs[str(head.run_id)]))
    return found


def policies(answers: AnswerReader, found: Iterable[Evaluation], cells: Iterable[Cell] = ()) -> list[Policy]:
    """The policies of evaluations, with what `status_cells` says of these, where the caller knows it."""
    states = {(cell.part, cell.step): cell for cell in cells}
    made = []
    for each in found:
        run_id, cell = each.run.run.run_id, states.get((each.part, each.step))
        state, why = ("", "") if cell is None else (cell.state, cell.reason)
        figures = answers.whole.measured.get(run_id, {})
        made.append(Policy(each.label, each.part, each.step, each.run, state, why, figures, answers.read(run_id)))
    return made


def outcomes(policy: Policy, metric: str) -> tuple[int, int, int] | None:
    """(wins, ties, losses) against SFT behind a win rate; None where they are not known prompt by prompt."""
    values = policy.answered.values.get(metric)
    if values is None:
        return None
    counts = Counter(values.values())
    return counts[1.0], counts[0.5], counts[0.0]


def paired(a: Answered, b: Answered, metric: str) -> list[tuple[str, float, float]]:
    """(prompt id, value in a, value in b) of the prompts that both answered, the very same ones, by prompt id."""
    ours, theirs = a.values.get(metric, {}), b.values.get(metric, {})
    return [
        (key, ours[key], theirs[key])
        for key in sorted(ours.keys() & theirs.keys())
        if a.prompts[key]["messages"] == b.prompts[key]["messages"]
    ]
