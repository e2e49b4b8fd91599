"""All evaluations, and their configs joined. They are imported one by one, not looked for in the folder, so that the
code which is recorded of the step holds them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.evaluations.answers import Answers
from tasks.evaluations.contaminated import Contaminated
from tasks.evaluations.divergence import Divergence
from tasks.evaluations.diversity import Diversity
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Rows
from tasks.evaluations.instructions import Instructions, InstructionsConfig
from tasks.evaluations.over_optimisation import OverOptimisation
from tasks.evaluations.refusals import Refusals, RefusalsConfig
from tasks.evaluations.reward_models import RewardModels, RewardModelsConfig
from tasks.evaluations.reward_shift import RewardShift
from tasks.evaluations.violations import Violations, ViolationsConfig
from tasks.evaluations.win_rate import WinRate, WinRateConfig

if TYPE_CHECKING:
    from tasks.engine.call import StepCall

# in the order in which their prompts are answered, they measure, and their columns stand
EVALUATIONS: tuple[Evaluation, ...] = (
    Answers(),
    WinRate(),
    Refusals(),
    Violations(),
    Instructions(),
    RewardModels(),
    RewardShift(),
    OverOptimisation(),
    Divergence(),
    Contaminated(),
    Diversity(),
)


# the last base's fields come first
class EvaluateConfig(
    RewardModelsConfig,
    InstructionsConfig,
    AnsweringConfig,
    ViolationsConfig,
    RefusalsConfig,
    WinRateConfig,
):
    """How many held-out prompts, and who judges."""


INPUTS = {role: replace(wanted, optional=True) for each in EVALUATIONS for role, wanted in each.inputs.items()}
HEADLINE = next(each.headline for each in EVALUATIONS if each.headline)


def metrics_of(call: "StepCall") -> Iterator[str]:
    """The names of what a call of the step measures."""
    config: Any = call.config  # an EvaluateStepConfig
    for each in EVALUATIONS:
        if set(each.inputs) <= set(call.inputs) and not (each.judged and config.annotator is None):
            yield from (metric.name for metric in each.metrics(config))


def columns() -> list[Measure]:
    """The metrics that the tables of a run show."""
    config = EvaluateConfig()
    return [metric for each in EVALUATIONS for metric in each.metrics(config) if metric.column]


def held_out_prompts(prompts: Rows, config: EvaluateConfig) -> Rows:
    """The same held-out prompts in every iteration: the first ones by id of each group. Raises ValueError where there
    is none."""
    held = sorted((row for row in prompts if row["split"] == "heldout"), key=lambda row: str(row["prompt_id"]))
    chosen = {row["prompt_id"]: row for each in EVALUATIONS for row in each.prompts(held, config)}
    if not chosen:
        raise ValueError("there is no held-out prompt to evaluate on: raise data.heldout_percent or give more prompts")
    return list(chosen.values())
