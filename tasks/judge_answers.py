"""One judge of evaluations judges the answers of one policy. Nothing is trained on what it says."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data_store.errors import InputError
from tasks.engine.step import Input, Measurements, Output, Step, StepRun, step
from tasks.estimates import rate_of
from tasks.evaluation_judges.judge import JudgeAnswersConfig
from tasks.evaluation_judges.measures import JUDGED, at_judge
from tasks.evaluation_judges.registry import INPUTS, kind_of, measures_of
from tasks.judging.judgements import figures_of

if TYPE_CHECKING:
    from tasks.engine.call import StepCall

PREFIX, SAMPLED_PREFIX = "judge_answers_", "judge_sampled_answers_"
"""Of the names of steps: the judge's follows."""
_QUESTIONS = ("better", "unsafe", "refused")


def _metrics(call: "StepCall") -> Iterator[str]:
    config: Any = call.config  # a JudgeAnswersConfig
    kinds = (kind_of(config.kind),)
    found = measures_of(config.name, kinds, compares=config.compares, against=config.against)
    yield from (measure.name for measure in found)


@step(
    version=2,
    config=JudgeAnswersConfig,
    inputs={"questions": Input("dataset", "question"), "prompts": Input("dataset", "prompt"), **INPUTS},
    outputs={"judgements": Output("dataset", "judgement")},
    metrics=_metrics,
    headline=JUDGED.name,
    about="Has a judge of evaluations judge the answers of one policy.",
    tags=("evaluation",),
    spreads=lambda call: not call.inputs.keys().isdisjoint(("judge", "gold_reward")),
)
def judge_answers(run: StepRun, config: JudgeAnswersConfig) -> Measurements:
    """A row for each question, also for those that the judge gave no answer to. Raises InputError where it answered
    none."""
    questions = sorted(run.records("questions"), key=lambda row: str(row["question_id"]))
    judge = config.annotator
    kind = kind_of(config.kind)
    judged = kind.judge(run, config, questions)
    rows = judged.rows
    reasons = Counter(row["refused"] for row in rows if row["value"] is None)
    if rows and reasons.total() == len(rows):
        raise InputError(f"{judge} judged none of {len(rows)} questions: {dict(reasons)}. Take another judge")
    run.write_rows("judgements", rows)
    asked = {row["prompt_id"] for row in questions}
    prompts = {row["prompt_id"]: row for row in run.records("prompts") if row["prompt_id"] in asked}
    found = {**judged.figures, **figures_of(rows, prompts, _QUESTIONS, judge)}
    if rows and not kind.always_answers:
        found[JUDGED.name] = rate_of([_is_told(row) for row in rows], judge)
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
