"""The base model's own answers to ordinary prompts, learned beside the demonstrations.

Who adds demonstrations of one kind to a model that can chat, refusals for example, teaches it to answer everything like
that. Its own answers to other prompts hold it where it was.
"""

import random
from collections.abc import Mapping
from datetime import date
from typing import Literal

from pydantic import Field

from data_store.errors import InputError
from models.config import Config, SamplingConfig
from tasks.answers import answered, open_renderer, row_id
from tasks.engine.step import Input, Output, StepRun, step
from tasks.sampling import draw

KIND = "own_answer"


class OwnAnswersConfig(Config):
    """How many, and how they are drawn."""

    prompts: int = Field(default=200, ge=1, description="Ordinary prompts to train on that the base model answers")
    temperature: float = Field(default=0.3, gt=0, description="At which the answers are drawn")
    unfinished: Literal["leave_out", "score"] = Field(
        default="score",
        description="Answers that were cut at max_new_tokens. score: learned, without an end; leave_out: not learned, "
        "so that short answers, and refusals among them, become more",
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the answers are drawn")


class OwnAnswersStepConfig(OwnAnswersConfig):
    """The same, with the room that the trainings leave for a dialogue, and what the template is told."""

    dialogue_tokens: int = Field(description="Prompts whose answer might not fit are not asked")
    template_date: date


@step(
    version=2,
    config=OwnAnswersStepConfig,
    inputs={"base": Input("model"), "prompts": Input("dataset", "prompt")},
    outputs={"dialogues": Output("dataset", "dialogue")},
    metrics=("dialogues", "finished", "left_out/cut", "left_out/too_long"),
    headline="dialogues",
    about="Has the base model answer ordinary prompts, for SFT to learn beside the demonstrations.",
    tags=("data",),
)
def draw_own_answers(run: StepRun, config: OwnAnswersStepConfig) -> Mapping[str, float]:
    """One answer to each of some prompts on the axis of helpfulness. Raises InputError where there is no such prompt,
    or none has room."""
    from models.checkpoint import load_policy

    base = run.path("base")
    renderer = open_renderer(base, config.template_date)
    ordinary = [row for row in run.records("prompts") if row["split"] == "train" and row["axis"] == "helpfulness"]
    room = config.dialogue_tokens - config.sampling.max_new_tokens - 1
    fitting = [row for row in ordinary if len(renderer.prompt(row["messages"])) <= room]
    if not fitting:
        raise InputError(
            f"none of {len(ordinary)} ordinary prompts has room for an answer of {config.sampling.max_new_tokens} "
            f"tokens in a dialogue of {config.dialogue_tokens}: lower own_answers.sampling.max_new_tokens, raise "
            "sft.sequence_length, give shorter prompts, or set own_answers: null"
        )
    asked = random.Random(run.seed).sample(fitting, min(config.prompts, len(fitting)))
    answers = draw(
        load_policy(base, dtype=config.sampling.dtype),
        renderer,
        [row["messages"] for row in asked],
        config.sampling,
        temperatures=[config.temperature],
        seed=run.seed,
        on_progress=lambda part: run.progress(part, "answering ordinary prompts"),
    )
    drawn = [(row, answer) for row, (answer,) in zip(asked, answers, strict=True)]
    kept = [(row, answer) for row, answer in drawn if answer.finished or config.unfinished == "score"]
    if not kept:
        raise ValueError(
            f"none of {len(drawn)} answers ended within {config.sampling.max_new_tokens} tokens: raise "
            "own_answers.sampling.max_new_tokens, or set own_answers.unfinished: score to learn cut answers"
        )
    rows = [
        {
            "dialogue_id": row_id(run.part, KIND, row["prompt_id"]),
            "source": f"draw_own_answers@{run.part}",
            "kind": KIND,
            "messages": answered(row["messages"], answer.text),
            **answer.columns(),
        }
        for row, answer in kept
    ]
    run.write_rows("dialogues", rows)
    run.table(
        "examples", [{"asked": row["messages"][-1]["content"], "answer": answer.text} for row, answer in kept[:5]]
    )
    return {
        "dialogues": float(len(rows)),
        "finished": sum(answer.finished for _, answer in drawn) / len(drawn),
        "left_out/cut": float(len(drawn) - len(kept)),
        "left_out/too_long": float(len(ordinary) - len(fitting)),
    }
