"""A policy that is none of this run's answers the held-out prompts, for the run's policies to be compared with."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from tasks.answers import open_renderer
from tasks.engine.step import BASE, Input, Output, Step, StepRun, step
from tasks.evaluations.held_out_answers import response_rows
from tasks.evaluations.registry import EvaluateConfig, held_out_prompts
from tasks.sampling import draw, speakers

PREFIX = "answer_as_"
"""Of the names of steps: what figures call the policy follows."""


class AnswerHeldOutConfig(EvaluateConfig):
    """Which prompts, how they are answered, and by whom."""

    name: str = Field(description="What figures call the policy")


@step(
    version=4,
    config=AnswerHeldOutConfig,
    inputs={
        "policy": Input("model", optional=True),
        "folder": Input("file", optional=True),
        "prompts": Input("dataset", "prompt"),
        "base": BASE,
    },
    outputs={"responses": Output("dataset", "response")},
    metrics=("answers", "finished"),
    headline="finished",
    about="Has a policy that the run's are compared with answer the held-out prompts.",
    tags=("evaluation",),
    spreads=True,
)
def answer_held_out(run: StepRun, config: AnswerHeldOutConfig) -> Mapping[str, float]:
    """One answer to each prompt that evaluations use, drawn as theirs are. `folder` is a model outside the store,
    `policy` one of its versions."""
    from models.checkpoint import load_policy

    role = "folder" if run.all_inputs("folder") else "policy"
    base = None if role == "folder" else run.optional_path("base")
    prompts = held_out_prompts(run.records("prompts"), config)
    policy = load_policy(run.path(role), base, dtype=config.sampling.dtype)
    with speakers(run, config.sampling) as speaker_of:
        answers = draw(
            speaker_of(role, policy),
            open_renderer(run.path(role)),
            [prompt["messages"] for prompt in prompts],
            config.sampling,
            temperatures=[config.temperature],
            seed=run.seed,
            on_progress=lambda part: run.progress(part, "answering held-out prompts"),
        )
    rows = response_rows(
        run, config, prompts, [one for (one,) in answers], policy=run.version(role), called=config.name
    )
    run.write_rows("responses", rows)
    return {"answers": float(len(rows)), "finished": sum(bool(row["finished"]) for row in rows) / len(rows)}


def answered_as(name: str) -> Step:
    """The step of one such policy."""
    return replace(answer_held_out, name=f"{PREFIX}{name}")
