"""Preference collection (Llama 2, section 3.2.1): two variants of the policy at two temperatures, an annotator who
chooses."""

import random
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from models.config import Config, SamplingConfig
from tasks.annotators import AnnotatorConfig
from tasks.sampling import draw, is_held_out, open_renderer, row_id
from tasks.step import Output, StepRun, step


class CollectConfig(Config):
    """Which prompts, how the two responses are drawn, and who judges."""

    ordinary_prompts: int = Field(default=400, ge=0, description="Helpfulness prompts of this iteration's batch")
    safety_prompts: int = Field(default=200, ge=0, description="Adversarial prompts of this iteration's batch")
    temperatures: tuple[float, ...] = Field(
        default=(0.7, 1.0, 1.2), min_length=1, description="Two of them for each pair"
    )
    sampling: SamplingConfig = SamplingConfig()
    heldout_percent: int = Field(
        default=15, ge=0, le=90, description="Share of the prompts whose pairs test the reward models"
    )


class CollectStepConfig(CollectConfig):
    """The same, with the run's annotator."""

    annotator: AnnotatorConfig | None = Field(default=None, description="Empty where the pairs are imported")
    iterations: int = Field(default=1, ge=1, description="Imported pairs are dealt out over this many iterations")


@step(version=1, config=CollectStepConfig, outputs={"preferences": Output("dataset", "preference")})
def collect_preferences(run: StepRun, config: CollectStepConfig) -> Mapping[str, float]:
    """One batch of judged pairs: drawn from the newest policies, or the next part of an imported set."""
    rows = _judged(run, config) if config.annotator is not None else _imported(run, config)
    if not rows:
        raise ValueError("no pair was judged: raise collect.ordinary_prompts, or import more preferences")
    run.write_rows("preferences", rows)
    ratings: dict[tuple[str, str], int] = {}
    for row in rows:
        ratings[row["axis"], row["rating"]] = ratings.get((row["axis"], row["rating"]), 0) + 1
    run.table(
        "ratings",
        [
            {"judged by": rows[0]["annotator"], "axis": axis, "rating": rating, "pairs": count}
            for (axis, rating), count in sorted(ratings.items())
        ],
    )
    run.table("examples", [_example(row) for row in rows[:8]])
    labels = [row["safety_label"] for row in rows if row["safety_label"]]
    return {
        "pairs": float(len(rows)),
        "pairs/safety": float(sum(row["axis"] == "safety" for row in rows)),
        **{f"share/{label}": labels.count(label) / len(labels) for label in sorted(set(labels))},
    }


def _judged(run: StepRun, config: CollectStepConfig) -> list[dict[str, Any]]:
    import torch

    from models.checkpoint import load_policy

    torch.set_num_threads(1)
    rng = random.Random(run.seed)
    prompts = [row for row in run.records("prompts") if row["split"] == "train"]
    batch: list[dict[str, Any]] = []
    for axis, count in (("helpfulness", config.ordinary_prompts), ("safety", config.safety_prompts)):
        pool = [row for row in prompts if row["axis"] == axis]
        batch += rng.sample(pool, min(count, len(pool)))

    base = run.optional_path("base")
    variants = ("policy", "previous")
    renderer = open_renderer(run.path("policy"))
    temperatures = [
        rng.sample(config.temperatures, 2) if len(config.temperatures) > 1 else config.temperatures * 2 for _ in batch
    ]
    responses: list[list[Any]] = [[], []]
    for side, variant in enumerate(variants):
        policy = load_policy(run.path(variant), base)
        drawn: list[Any] = [None] * len(batch)
        for number, temperature in enumerate(sorted(set(config.temperatures))):
            chosen = [i for i in range(len(batch)) if temperatures[i][side] == temperature]
            answers = draw(
                policy,
                renderer,
                [batch[i]["messages"] for i in chosen],
                config.sampling,
                temperature=temperature,
                num_samples=1,
                seed=run.seed + 1000 * (side * len(config.temperatures) + number),
            )
            for i, answer in zip(chosen, answers, strict=True):
                drawn[i] = answer[0]
            run.progress((side + (number + 1) / len(config.temperatures)) / 2, f"{variant} answered at {temperature}")
        responses[side] = drawn

    if config.annotator is None:
        raise ValueError("collect.annotator is empty: nobody to judge")
    annotator = config.annotator.open()
    rows = []
    for i, prompt in enumerate(batch):
        sides = [0, 1]
        rng.shuffle(sides)  # whoever judges cannot tell the variants by their place
        a, b = (responses[side][i] for side in sides)
        if a.text == b.text:
            continue
        identity = row_id(run.part, prompt["prompt_id"], a.text, b.text)
        judged = annotator.compare(
            prompt["messages"],
            a.text,
            b.text,
            prompt["axis"],
            key=identity,
            finished_a=a.finished,
            finished_b=b.finished,
        )
        if judged is None:
            continue
        rows.append(
            {
                "preference_id": identity,
                "source": f"collect_preferences@{run.part}",
                "prompt_id": prompt["prompt_id"],
                "axis": prompt["axis"],
                "iteration": run.part,
                "split": "heldout" if is_held_out(prompt["prompt_id"], config.heldout_percent) else "train",
                "messages": prompt["messages"],
                "response_a": a.text,
                "response_b": b.text,
                "policy_version_a": run.version(variants[sides[0]]),
                "policy_version_b": run.version(variants[sides[1]]),
                "temperature_milli_a": round(1000 * temperatures[i][sides[0]]),
                "temperature_milli_b": round(1000 * temperatures[i][sides[1]]),
                "chosen": judged.chosen,
                "rating": judged.rating,
                "safety_label": judged.safety_label,
                "annotator": annotator.name,
            }
        )
    return rows


def _imported(run: StepRun, config: CollectStepConfig) -> list[dict[str, Any]]:
    number = int(run.part.removeprefix("V"))
    return [
        {
            **row,
            "iteration": run.part,
            "split": "heldout" if is_held_out(row["prompt_id"], config.heldout_percent) else "train",
        }
        for row in run.records("imported")
        if int(row_id(row["preference_id"]), 16) % config.iterations == number - 1
    ]


def _example(row: dict[str, Any]) -> dict[str, Any]:
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    return {
        "prompt": row["messages"][-1]["content"],
        "chosen": row[f"response_{better}"],
        "rejected": row[f"response_{worse}"],
        "rating": row["rating"],
        "judged by": row["annotator"],
    }
