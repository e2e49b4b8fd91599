"""A policy's answers to the held-out prompts, as rows."""

from collections.abc import Sequence

from tasks.answers import Drawn, row_id
from tasks.engine.step import StepRun
from tasks.evaluations.evaluation import AnsweringConfig, Rows


def response_rows(
    run: StepRun, config: AnsweringConfig, prompts: Rows, answers: Sequence[Drawn], *, policy: str, called: str
) -> Rows:
    """Rows of kind response, one for each prompt. `policy`: the version that answered; `called`: the part that it is
    of, or its name where it is of none."""
    return [
        {
            "response_id": row_id("evaluate", called, policy, prompt["prompt_id"]),
            "prompt_id": prompt["prompt_id"],
            "iteration": called,
            "policy_version": policy,
            "temperature_milli": round(1000 * config.temperature),
            "seed": run.seed,
            "text": answer.text,
            **answer.columns(),
            "messages": prompt["messages"],
        }
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
