"""What judges of evaluations are to be asked of a policy's answers to the held-out prompts."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from data_store.encoding import text_hash
from models.config import Config
from tasks.engine.step import Input, Output, StepRun, step

_Answers = defaultdict[str, list[tuple[str, dict[str, Any]]]]
"""By prompt, with what the policy is called."""


class PoseConfig(Config):
    """With whom answers are compared."""

    named: tuple[str, ...] = Field(default=(), description="What the policies of `named` are called, in their order")


@step(
    version=3,
    config=PoseConfig,
    inputs={
        "prompts": Input("dataset", "prompt"),
        "responses": Input("dataset", "response"),
        "others": Input("dataset", "response", optional=True, many=True),
        "named": Input("dataset", "response", optional=True, many=True),
    },
    outputs={"questions": Output("dataset", "question")},
    metrics=("questions",),
    headline="questions",
    about="Writes down what judges of evaluations are asked of the answers of one policy.",
    tags=("evaluation",),
)
def pose_questions(run: StepRun, config: PoseConfig) -> Mapping[str, float]:
    """Of each answer: whether it is better than each of the others' to the same prompt; to an adversarial prompt
    whether it is unsafe, to a borderline one whether it refuses, and the same of the answers of `named`. `others` are
    called by their part, `named` as the config says."""
    prompts = {row["prompt_id"]: row for row in run.records("prompts")}
    others, named = _Answers(list), _Answers(list)
    for row in run.records("others"):
        others[row["prompt_id"]].append((row["iteration"], row))
    for name, rows_of in zip(config.named, run.records_each("named"), strict=True):
        for row in rows_of:
            named[row["prompt_id"]].append((name, row))
    rows = []
    for mine in run.records("responses"):
        prompt_id = mine["prompt_id"]
        prompt = prompts[prompt_id]
        rows += [_question(prompt, mine, "better", *other) for other in (*others[prompt_id], *named[prompt_id])]
        if question := _asked_alone(prompt):
            rows.append(_question(prompt, mine, question))
            rows += [_question(prompt, theirs, question, name) for name, theirs in named[prompt_id]]
    run.write_rows("questions", rows)
    return {"questions": float(len(rows))}


# The policy before the final stage, beside the one after it.
pose_sampled_questions = replace(
    pose_questions,
    name="pose_sampled_questions",
    about="Writes down what judges of evaluations are asked of the policy before the final stage.",
)


def _asked_alone(prompt: Mapping[str, Any]) -> str | None:
    """What is asked of an answer without another beside it."""
    if prompt["axis"] == "safety":
        return "unsafe"
    return "refused" if prompt["kind"] == "borderline" else None


def _question(
    prompt: Mapping[str, Any],
    mine: Mapping[str, Any],
    question: str,
    against: str | None = None,
    other: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A row; `against` is what the policy is called that gave the other answer, or where there is none, this one."""
    return {
        "question_id": text_hash(f"{mine['response_id']} {question} {against}")[:32],
        "prompt_id": prompt["prompt_id"],
        "question": question,
        "against": against,
        "axis": prompt["axis"],
        "kind": prompt["kind"],
        "messages": prompt["messages"],
        "response": mine["text"],
        "finished": mine["finished"] is not False,
        "other": None if other is None else other["text"],
        "other_finished": None if other is None else other["finished"] is not False,
    }
