"""One judge of evaluations judges the answers of one policy. Nothing is trained on what it says."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_store.errors import InputError
from data_store.estimate import Estimate
from tasks.engine.step import Input, Measurements, Output, Step, StepRun, step
from tasks.estimates import rate_of
from tasks.evaluation_judges.classifier import accuracy_of, by_classifier
from tasks.evaluation_judges.config import FolderUse
from tasks.evaluation_judges.measures import at_judge, measures_of
from tasks.judging.judgements import figures_of
from tasks.judging.of_answers import by_endpoint, by_folder

if TYPE_CHECKING:
    from tasks.engine.call import StepCall

PREFIX, SAMPLED_PREFIX = "judge_answers_", "judge_sampled_answers_"
"""Of the names of steps: the judge's follows."""
_QUESTIONS = ("better", "unsafe", "refused")


class JudgeAnswersConfig(FolderUse):
    """Who judges."""

    name: str = Field(description="Stands in the names of its figures")
    annotator: str = Field(description="Stands in every judgement")
    asks: str | None = Field(default=None, description="Of an endpoint: a hash of what it is asked")
    compares: bool = Field(description="With SFT's answers")
    previous: bool = Field(description="With those of the iteration before")
    kind: str = Field(default="lm", description="safety_classifier: says what is unsafe, and nothing else")


def _metrics(call: "StepCall") -> Iterator[str]:
    config: Any = call.config  # a JudgeAnswersConfig
    learned = config.kind == "safety_classifier"
    found = measures_of(
        config.name, compares=config.compares, previous=config.previous, reads=not learned, learned=learned
    )
    yield from (measure.name for measure in found)


@step(
    version=2,
    config=JudgeAnswersConfig,
    inputs={
        "questions": Input("dataset", "question"),
        "prompts": Input("dataset", "prompt"),
        "judge": Input("file", optional=True),
        "answers": Input("dataset", "answer", optional=True),
        "classifier": Input("classifier", optional=True),
    },
    outputs={"judgements": Output("dataset", "judgement")},
    metrics=_metrics,
    headline="judged",
    about="Has a judge of evaluations judge the answers of one policy.",
    tags=("evaluation",),
)
def judge_answers(run: StepRun, config: JudgeAnswersConfig) -> Measurements:
    """A row for each question, also for those that the judge gave no answer to. Raises InputError where it answered
    none."""
    questions = sorted(run.records("questions"), key=lambda row: str(row["question_id"]))
    judge = config.annotator
    learned: dict[str, Estimate] = {}
    if run.all_inputs("classifier"):
        questions = [row for row in questions if row["question"] == "unsafe"]
        rows = by_classifier(run.path("classifier"), questions, judge)
        learned = accuracy_of(run.path("classifier"))
    elif run.all_inputs("judge"):
        rows = by_folder(run, questions, judge, batch_size=config.batch_size, threads=config.threads)
    else:
        rows = by_endpoint(questions, run.records("answers"), judge)
    reasons = Counter(row["refused"] for row in rows if row["value"] is None)
    if rows and reasons.total() == len(rows):
        raise InputError(f"{judge} judged none of {len(rows)} questions: {dict(reasons)}. Take another judge")
    run.write_rows("judgements", rows)
    asked = {row["prompt_id"] for row in questions}
    prompts = {row["prompt_id"]: row for row in run.records("prompts") if row["prompt_id"] in asked}
    found = {**learned, **figures_of(rows, prompts, _QUESTIONS, judge)}
    both = [row["first_order"] != row["second_order"] for row in rows if row["question"] == "better" and _is_told(row)]
    if both:
        found["orders_disagree"] = rate_of(both, judge)
    if rows and not learned:
        found["judged"] = rate_of([_is_told(row) for row in rows], judge)
    run.table("judged", [{"judged by": judge, "outcome": why, "questions": n} for why, n in _counts(rows).items()])
    return {at_judge(metric, config.name): value for metric, value in found.items()}


def judged_by(name: str, *, sampled: bool, compares: bool) -> Step:
    """The step of one judge; `sampled`: of the policy before the final stage."""
    return replace(
        judge_answers,
        name=f"{SAMPLED_PREFIX if sampled else PREFIX}{name}",
        headline=at_judge("win_rate" if compares else "violation", name),
    )


def _is_told(row: dict[str, Any]) -> bool:
    return row["value"] is not None


def _counts(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter("judged" if _is_told(row) else f"refused/{row['refused']}" for row in rows)
