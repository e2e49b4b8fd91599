"""Each evaluated policy with its figures: value, over how many, 95 % interval, and whose judgement it is.

Where the catalog says n, interval and judge, they are what it says. Else they are taken from the rows that the figure
was made of, where these still tell it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from data_store.catalog.whole import Measured, WholeCatalog
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import RunSummary
from data_store.store import Store
from flows.recipe.plan import Plan
from flows.shown.answered import NOTHING, Answered, AnswerReader
from flows.shown.intervals import of_mean, wilson
from flows.shown.status import Cell
from flows.shown.summary import NOBODY, evaluations_of, judge_of
from tasks.evaluations.evaluation import Measure
from tasks.evaluations.registry import EVALUATIONS, EvaluateConfig

COUNTED = ""  # nobody judged: it is counted or computed
LABELS = "those who judged the held-out pairs"
GOLD = "a reward model that nothing was optimised against"
_HELD_OUT = "heldout"
_ACCURACY = "accuracy/"

_CONFIG = EvaluateConfig(instruction_turns=64)  # the metrics of dialogues of so many turns
MEASURES: Mapping[str, Measure] = {metric.name: metric for each in EVALUATIONS for metric in each.metrics(_CONFIG)}
JUDGED = frozenset(metric.name for each in EVALUATIONS if each.judged for metric in each.metrics(_CONFIG))
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


class Figures:
    """Completes the figures of runs with n, interval and judge."""

    def __init__(self, store: Store, whole: WholeCatalog) -> None:
        self.store, self.whole = store, whole
        self.answers = AnswerReader(store, whole)
        self._held_out = lru_cache(maxsize=None)(self._count_held_out)

    def of(self, run_id: str, answered: Answered = NOTHING) -> dict[str, Measured]:
        """All metrics of a run by name. `answered` is what an evaluation says prompt by prompt."""
        return {name: self._completed(figure, answered) for name, figure in self.whole.measured.get(run_id, {}).items()}

    def _completed(self, figure: Measured, answered: Answered) -> Measured:
        judge = figure.judge if figure.judge is not None else self._judge(figure)
        figure = replace(figure, judge=judge)
        if figure.n is not None:
            return figure
        if figure.name in answered.values:
            values = list(answered.values[figure.name].values())
            low, high = of_mean(values) or (None, None)
            return replace(figure, n=len(values), low=low, high=high)
        if figure.name.startswith(_ACCURACY):
            pairs = self._pairs(figure)
            if pairs and 0 <= figure.value <= 1:
                low, high = wilson(figure.value, pairs)
                return replace(figure, n=pairs, low=low, high=high)
        return figure

    def _judge(self, figure: Measured) -> str:
        if figure.name in JUDGED:
            return judge_of(self.whole.runs[figure.run_id].run.config)
        if figure.name.startswith(("accuracy/", "threshold/")):
            return LABELS
        if figure.name.startswith("reward/gold"):
            return GOLD
        return NOBODY if figure.name.startswith("reward") else COUNTED

    def _pairs(self, figure: Measured) -> int:
        """The held-out pairs behind an accuracy: `accuracy/<axis>/<rating>` of an evaluation, `accuracy/<rating>` of a
        reward model's training on its own axis. `all` pools the ratings."""
        *_, axis, rating = ["", *figure.name.removeprefix(_ACCURACY).split("/")]
        step = self.whole.runs[figure.run_id].run.step
        axis = axis or {"train_safety_reward": "safety", "train_helpfulness_reward": "helpfulness"}.get(step, "")
        counts = [self._held_out(edge.version_id) for edge in self.whole.read_as(figure.run_id, "preferences")]
        return sum(
            count
            for each in counts
            for (found_axis, found), count in each.items()
            if axis in (found_axis, "") and rating in (found, "all")
        )

    def _count_held_out(self, version_id: str) -> Mapping[tuple[str, str], int]:
        """(axis, rating) → held-out pairs of a version; none where its content is gone."""
        size = self.whole.versions.get(version_id)
        if size is None or size.row_kind != "preference":
            return {}
        try:
            rows = self.store.rows(version_id).select(["axis", "rating", "split"]).to_pylist()
        except (InputError, StoreError):
            return {}
        return Counter((row["axis"], row["rating"]) for row in rows if row["split"] == _HELD_OUT)


def evaluations(whole: WholeCatalog, plan: Plan, parts: Sequence[str], stage: str) -> list[Evaluation]:
    """Every evaluation of the plan that is there, in the order in which the policies were made."""
    found = []
    for part in ("V0", *parts):
        for step, name, label in evaluations_of(plan, part, stage):
            head = whole.heads.get(AssetName("report", name, part))
            if head is not None and head.run_id in whole.runs:
                found.append(Evaluation(label, part, step, whole.runs[str(head.run_id)]))
    return found


def policies(figures: Figures, found: Iterable[Evaluation], cells: Iterable[Cell] = ()) -> list[Policy]:
    """The policies of evaluations, with what `status_cells` says of these, where the caller knows it."""
    states = {(cell.part, cell.step): cell for cell in cells}
    made = []
    for each in found:
        answered = figures.answers.read(each.run.run.run_id)
        cell = states.get((each.part, each.step))
        state, why = ("", "") if cell is None else (cell.state, cell.reason)
        of_run = figures.of(each.run.run.run_id, answered)
        made.append(Policy(each.label, each.part, each.step, each.run, state, why, of_run, answered))
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
