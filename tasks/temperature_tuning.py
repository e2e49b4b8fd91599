"""The temperature of a round of rejection sampling, found anew in each (Llama 2, section 3.2.3 and figure 8): «the
optimal temperature is not constant during the iterative model updates».

Prompts of the split validation are answered at each temperature of a grid. That one is taken at which the best of N
answers has the highest reward in the mean, N being as many as rejection sampling draws.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.figures import figure
from models.config import Config, SamplingConfig
from models.seeds import derive_seed
from tasks.answers import response_of
from tasks.candidates import Rows, combined, draw_candidates
from tasks.engine.step import StepRun
from tasks.estimates import mean_of
from tasks.reward_curves import JUDGE, metrics_of, reward_curves, table_of
from tasks.sampling import Speaker, score

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer

Temperature = Annotated[float, Field(gt=0, le=10)]
AUTO: Literal["auto"] = "auto"


class TuningConfig(Config):
    """What is tried with temperatures: auto, and on how much."""

    grid: tuple[Temperature, ...] = Field(
        default=(0.7, 0.9, 1.1, 1.3), min_length=2, description="Temperatures that are tried, each with K answers"
    )
    prompts: int = Field(
        default=40, ge=2, description="Validation prompts that are answered at each; safety_share of them adversarial"
    )

    @field_validator("grid")
    @classmethod
    def _rises(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        if sorted(set(grid)) != list(grid):
            raise ValueError(f"must rise from temperature to temperature, not {', '.join(map(figure, grid))}")
        return grid


def tuned_temperature(
    run: StepRun,
    config: TuningConfig,
    sampling: SamplingConfig,
    policy: Speaker,
    models: "Sequence[nn.Module]",
    renderer: "Renderer",
    *,
    samples: int,
    safety_share: float,
    threshold: float,
    cut_counts: bool,
) -> tuple[float, dict[str, float | Estimate]]:
    """The temperature and what was measured for it: `temperature`, by how much its best answers beat the runner-up's
    (`temperature/lead`, prompt by prompt), and the curves. Without `cut_counts` a cut answer is worth no more than the
    worst finished one, for rejection sampling would not take it."""
    import torch

    from models.algorithms.reward import truncate_rewards
    from models.algorithms.selection import best_setting

    batch = _batch(run, config, safety_share)
    rows = draw_candidates(
        run, policy, renderer, batch, sampling, config.grid, samples, word="tuning", progress=(0.0, 0.3)
    )
    raw = score(models, renderer, list(map(response_of, rows)), sampling)
    rewards = torch.tensor(combined(rows, raw, {row["prompt_id"]: row for row in batch}, threshold))
    finished = torch.tensor([bool(row["finished"]) for row in rows])
    worth: list[float] = truncate_rewards(rewards, finished, "own" if cut_counts else "lowest").tolist()
    points = [point for point in reward_curves(rows, worth, config.grid) if point.temperature is not None]
    at_all = [point for point in points if point.samples == samples]
    best, second = best_setting([point.highest for point in at_all])
    lead = [a - b for a, b in zip(at_all[best].highest, at_all[second].highest, strict=True)]
    run.table("temperature-tuning", table_of(points))
    chosen = config.grid[best]
    run.log(f"temperature {figure(chosen)} of {', '.join(map(figure, config.grid))}, on {len(batch)} prompts")
    found: dict[str, float | Estimate] = {"temperature": chosen, "temperature/lead": mean_of(lead, JUDGE)}
    return chosen, {**found, **metrics_of(points, "tuning")}


def _batch(run: StepRun, config: TuningConfig, safety_share: float) -> Rows:
    """The prompts, by axis. Raises InputError where there are fewer than two."""
    pool = [row for row in run.records("prompts") if row["split"] == "validation"]
    rng = random.Random(derive_seed(run.seed, "tuning prompts"))
    safety = round(config.prompts * safety_share)
    batch: Rows = []
    for axis, count in (("safety", safety), ("helpfulness", config.prompts - safety)):
        there: list[Mapping[str, Any]] = [row for row in pool if row["axis"] == axis]
        batch += [dict(row) for row in rng.sample(there, min(count, len(there)))]
    if len(batch) < 2:
        raise InputError(
            "rejection.temperatures: auto needs two prompts of the split validation, a tenth of those to train on: "
            "give more prompts, or temperatures"
        )
    return batch
