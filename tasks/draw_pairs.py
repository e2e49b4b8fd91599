"""The pairs to be judged (Llama 2, section 3.2.1): two variants of the policy, each at a temperature of its own, answer
the same prompts."""

import random
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from models.config import Config, SamplingConfig
from tasks.sampling import draw, open_renderer, row_id
from tasks.step import Output, StepRun, step

VARIANTS = ("policy", "previous")


class DrawConfig(Config):
    """Which prompts, and how the two responses are drawn."""

    ordinary_prompts: int = Field(default=400, ge=0, description="Helpfulness prompts of this iteration's batch")
    safety_prompts: int = Field(default=200, ge=0, description="Adversarial prompts of this iteration's batch")
    temperatures: tuple[float, ...] = Field(
        default=(0.7, 1.0, 1.2), min_length=1, description="Two of them for each pair"
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the policies answer")


@step(version=1, config=DrawConfig, outputs={"pairs": Output("dataset", "pair")})
def draw_pairs(run: StepRun, config: DrawConfig) -> Mapping[str, float]:
    """One batch of pairs from the newest policy and the one before, their sides shuffled. Equal answers are no pair."""
    import torch

    torch.set_num_threads(1)
    rng = random.Random(run.seed)
    batch = _chosen_prompts(run, config, rng)
    temperatures = [
        rng.sample(config.temperatures, 2) if len(config.temperatures) > 1 else config.temperatures * 2 for _ in batch
    ]
    responses = [
        _answers(run, config, batch, [pair[side] for pair in temperatures], side) for side in range(len(VARIANTS))
    ]
    rows = []
    for i, prompt in enumerate(batch):
        sides = [0, 1]
        rng.shuffle(sides)  # whoever judges cannot tell the variants by their place
        a, b = (responses[side][i] for side in sides)
        if a.text == b.text:
            continue
        rows.append(
            {
                "pair_id": row_id(run.part, prompt["prompt_id"], a.text, b.text),
                "source": f"draw_pairs@{run.part}",
                "prompt_id": prompt["prompt_id"],
                "axis": prompt["axis"],
                "iteration": run.part,
                "messages": prompt["messages"],
                "response_a": a.text,
                "response_b": b.text,
                "finished_a": a.finished,
                "finished_b": b.finished,
                "policy_version_a": run.version(VARIANTS[sides[0]]),
                "policy_version_b": run.version(VARIANTS[sides[1]]),
                "temperature_milli_a": round(1000 * temperatures[i][sides[0]]),
                "temperature_milli_b": round(1000 * temperatures[i][sides[1]]),
            }
        )
    if not rows:
        raise ValueError("no pair was drawn: raise collect.ordinary_prompts, or collect.temperatures")
    run.write_rows("pairs", rows)
    run.table("examples", [_example(row) for row in rows[:8]])
    return {
        "pairs": float(len(rows)),
        "pairs/safety": float(sum(row["axis"] == "safety" for row in rows)),
        "equal_answers": float(len(batch) - len(rows)),
    }


def _chosen_prompts(run: StepRun, config: DrawConfig, rng: random.Random) -> list[dict[str, Any]]:
    prompts = [row for row in run.records("prompts") if row["split"] == "train"]
    batch: list[dict[str, Any]] = []
    for axis, count in (("helpfulness", config.ordinary_prompts), ("safety", config.safety_prompts)):
        pool = [row for row in prompts if row["axis"] == axis]
        # What people have just found against the newest policy comes first: it is few, and what it has to learn.
        found = [row for row in pool if row["source"] == f"red-team@V{int(run.part[1:]) - 1}"][:count]
        rest = [row for row in pool if row not in found] if found else pool
        batch += [*found, *rng.sample(rest, min(count - len(found), len(rest)))]
    return batch


def _answers(
    run: StepRun, config: DrawConfig, batch: list[dict[str, Any]], temperatures: list[float], side: int
) -> list[Any]:
    """One variant's answer to each prompt, at its temperature."""
    from models.checkpoint import load_policy

    variant, number_of = VARIANTS[side], len(config.temperatures)
    policy = load_policy(run.path(variant), run.optional_path("base"))
    renderer = open_renderer(run.path("policy"))
    drawn: list[Any] = [None] * len(batch)
    for number, temperature in enumerate(sorted(set(config.temperatures))):
        chosen = [i for i in range(len(batch)) if temperatures[i] == temperature]
        answers = draw(
            policy,
            renderer,
            [batch[i]["messages"] for i in chosen],
            config.sampling,
            temperature=temperature,
            num_samples=1,
            seed=run.seed + 1000 * (side * number_of + number),
        )
        for i, answer in zip(chosen, answers, strict=True):
            drawn[i] = answer[0]
        run.progress((side + (number + 1) / number_of) / 2, f"{variant} answered at {temperature}")
    return drawn


def _example(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][-1]["content"], "a": row["response_a"], "b": row["response_b"]}
