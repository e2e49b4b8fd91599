"""Candidates of rejection sampling: how they are drawn at several temperatures, and what they are worth."""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.config import SamplingConfig
from models.seeds import derive_seed
from tasks.answers import row_id
from tasks.engine.step import StepRun
from tasks.sampling import Speaker, draw

if TYPE_CHECKING:
    from models.dialogue import Renderer

Rows = list[dict[str, Any]]


def draw_candidates(
    run: StepRun,
    policy: Speaker,
    renderer: "Renderer",
    batch: Sequence[Mapping[str, Any]],
    sampling: SamplingConfig,
    temperatures: Sequence[float],
    samples: int,
    *,
    word: str = "candidates",
    progress: tuple[float, float] = (0.0, 0.6),
) -> Rows:
    """`samples` answers to each prompt at each temperature, as rows of kind response. `word` parts their random numbers
    from others of the step; `progress` is where the step stands before and after."""
    seed, (first, last) = derive_seed(run.seed, word), progress
    answers = draw(
        policy,
        renderer,
        [prompt["messages"] for prompt in batch],
        sampling,
        temperatures=[temperature for temperature in temperatures for _ in range(samples)],
        seed=seed,
        on_progress=lambda part: run.progress(first + (last - first) * part, "drawing candidates"),
    )
    return [
        {
            "response_id": row_id(run.part, prompt["prompt_id"], temperature, k),
            "prompt_id": prompt["prompt_id"],
            "iteration": run.part,
            "policy_version": run.version("policy"),
            "temperature_milli": round(1000 * temperature),
            "seed": seed,
            "text": response.text,
            **response.columns(),
            "messages": prompt["messages"],
        }
        for number, temperature in enumerate(temperatures)
        for prompt, responses in zip(batch, answers, strict=True)
        for k, response in enumerate(responses[number * samples : (number + 1) * samples])
    ]


def scored_again(candidates: Mapping[str, int], settled: Collection[str], most: int, seed: int) -> set[str]:
    """The prompts whose candidates of earlier iterations are scored by new reward models.

    A choice is made among scores of one reward-model version, so a prompt is scored whole or not at all, and always
    where it is not `settled`: there it has new candidates to be compared with, or no choice yet. Of the settled ones as
    many as `most` candidates allow, drawn by chance: each has the same chance in every iteration, so none stays as it
    is for good. With `most` no less than all candidates there are, all prompts are scored, and the choice is the best
    over all iterations under the newest models (Llama 2, section 3.2.3).

    Args:
        candidates: prompt id → how many candidates earlier iterations left of it.
        settled: those of these prompts that have a choice of before and no new candidate.
    """
    asked = candidates.keys() - set(settled)
    left = most - sum(candidates[prompt_id] for prompt_id in asked)
    drawn = sorted(settled)
    random.Random(derive_seed(seed, "scored again")).shuffle(drawn)
    for prompt_id in drawn:
        if candidates[prompt_id] <= left:
            asked.add(prompt_id)
            left -= candidates[prompt_id]
    return asked


def combined(
    rows: Rows, raw: Sequence[tuple[float, ...]], prompts: Mapping[str, Mapping[str, Any]], threshold: float
) -> list[float]:
    """The combined reward of each row from its (safety, helpfulness) scores; `prompts` by id tell the axis."""
    import torch

    from models.algorithms.reward import combine_rewards

    safety, helpfulness = (torch.tensor(column) for column in zip(*raw, strict=True))
    is_safety = torch.tensor([prompts[row["prompt_id"]]["axis"] == "safety" for row in rows])
    values: list[float] = combine_rewards(safety, helpfulness, is_safety, threshold).tolist()
    return values
