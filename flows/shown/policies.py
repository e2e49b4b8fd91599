"""Each evaluated policy with its figures, as the catalog has them, and with what it answered."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from data_store.catalog.whole import Measured, WholeCatalog
from data_store.names import AssetName
from data_store.records import RunSummary
from flows.recipe.judge_rows import judge_in, judges_of
from flows.recipe.plan import Plan
from flows.shown.answered import NOTHING, Answered, AnswerReader
from flows.shown.status import Cell
from flows.shown.summary import evaluations_of, judge_of, judged_in, with_judges
from tasks.evaluation_judges.measures import JUDGE_MARK, against_in
from tasks.evaluation_judges.registry import measures_of
from tasks.evaluations.evaluation import Measure
from tasks.evaluations.registry import EVALUATIONS, EvaluateConfig
from tasks.judging.judgements import CATEGORY

_CONFIG = EvaluateConfig(instruction_turns=64, instruction_reminded=True)  # the metrics of dialogues of so many turns
MEASURES: Mapping[str, Measure] = {metric.name: metric for each in EVALUATIONS for metric in each.metrics(_CONFIG)}
_PLACES = {name: number for number, name in enumerate(MEASURES)}


def place(metric: str) -> tuple[int, str]:
    """Where a metric stands among others: in the order in which evaluations measure, then by its name, which of a
    judge's ends with the judge's."""
    name = metric.partition(JUDGE_MARK)[0].partition(CATEGORY)[0]
    return _PLACES.get(name, len(_PLACES)), metric


def measure_of(metric: str) -> Measure | None:
    """What is known of a metric by its name; None for one that nothing measures today."""
    name, mark, judge = metric.partition(JUDGE_MARK)
    whole, _, category = name.partition(CATEGORY)
    theirs = measures_of(judge, against=against_in([metric])) if judge else ()
    known = {each.name: each for each in theirs} if judge else MEASURES
    found = known.get(f"{whole}{mark}{judge}")
    if found is None or not category:
        return found
    return replace(found, name=metric, meaning=f"{found.meaning}: {category}", column="")


@dataclass(frozen=True)
class Evaluation:
    """A policy by its name in tables, and the step of a part that evaluated it."""

    label: str
    part: str
    step: str
    run: RunSummary
    judged: Mapping[str, RunSummary] = field(default_factory=dict)
    """Judge of evaluations → the run in which it judged the answers."""


@dataclass(frozen=True)
class Policy(Evaluation):
    """A policy as its evaluation and the judges found it. `state` is fresh, or what the evaluation's step is instead,
    and `why` says so."""

    state: str = ""
    why: str = ""
    figures: Mapping[str, Measured] = field(default_factory=dict)
    answered: Answered = NOTHING

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
                judged = judged_in(judges_of(plan, part, step), whole.heads, whole.runs)
                found.append(Evaluation(label, part, step, whole.runs[str(head.run_id)], judged))
    return found


def policies(answers: AnswerReader, found: Iterable[Evaluation], cells: Iterable[Cell] = ()) -> list[Policy]:
    """The policies of evaluations, with what `status_cells` says of these, where the caller knows it."""
    cells = list(cells)
    made = []
    for each in found:
        run_id, cell = each.run.run.run_id, _standing(each, cells)
        state, why = ("", "") if cell is None else (cell.state, cell.reason)
        if cell is not None and cell.step != each.step:
            why = f"{cell.step}: {why}"
        judges = {judge: run.run.run_id for judge, run in each.judged.items()}
        measured = answers.whole.measured
        figures = with_judges(measured.get(run_id, {}), (measured.get(each, {}) for each in judges.values()))
        answered = answers.read(run_id, judges)
        made.append(Policy(each.label, each.part, each.step, each.run, each.judged, state, why, figures, answered))
    return made


def _standing(of: Evaluation, cells: Iterable[Cell]) -> Cell | None:
    """The cell of an evaluation; where it is fresh and a judge's is not, the judge's."""
    mine = [cell for cell in cells if cell.part == of.part]
    own = next((cell for cell in mine if cell.step == of.step), None)
    if own is None or own.state != "fresh":
        return own
    return next((cell for cell in mine if judge_in(of.step, cell.step) is not None and cell.state != "fresh"), own)


def is_same_judge(a: Policy, b: Policy, metric: str, read_a: WholeCatalog, read_b: WholeCatalog) -> bool:
    """Whether one judge gave this metric of both. A judge of evaluations is told by more than the name: what it was
    asked, and which model or classifier it is."""
    judge = metric.partition(JUDGE_MARK)[2]
    if not judge:
        return a.judge == b.judge
    return judge in a.judged and judge in b.judged and _identity(a, judge, read_a) == _identity(b, judge, read_b)


def _identity(of: Policy, judge: str, whole: WholeCatalog) -> tuple[object, ...]:
    record = of.judged[judge].run
    config = record.config.get("config")
    asks = config.get("asks") if isinstance(config, Mapping) else None
    read = (edge.version_id for role in ("judge", "classifier") for edge in whole.read_as(record.run_id, role))
    return asks, *read


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
