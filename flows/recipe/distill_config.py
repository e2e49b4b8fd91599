"""The section `distill`: whose answers a small model learns from."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from data_store.identity import check_run_name
from models.config import Config

if TYPE_CHECKING:
    from flows.recipe.config import RunConfig

RunName = Annotated[str, AfterValidator(check_run_name)]


class DistillConfig(Config):
    """Learning from a larger model's answers (Llama 2, section 3.2.3: only the largest model samples)."""

    run: RunName = Field(
        description="Name of the run, in the same HALTER_HOME, whose picks of V1 … Vn are learned here"
    )


def check_distilled(config: "RunConfig", distill: DistillConfig) -> None:
    """Raises ValueError for what a run that learns another's picks has no use for."""
    if distill.run == config.name:
        raise ValueError(f"distill.run must be the name of another run, not {distill.run!r}")
    others = (config.gatt, config.context_distillation)
    if any(others) or config.final_stage != "none" or config.reward.gold_percent:
        raise ValueError(
            "distill trains no reward models, which Ghost Attention, context distillation, PPO, DPO's preferences "
            "and the gold reward model need: set gatt: null, context_distillation: null, final_stage: none and no "
            "reward.gold_percent"
        )
    if config.collect.red_team is not None:
        raise ValueError("distill draws no responses to prompts of red teams: take collect.red_team out")
    if config.reward_tests.sets:
        raise ValueError("distill trains no reward models to test: take reward_tests.sets out")
    if config.schedule.take_in != "nothing":
        raise ValueError("distill takes in no preferences: set schedule.take_in: nothing")
    if config.collect.people is not None or config.collect.judge is not None:
        raise ValueError("distill draws no pairs to judge: take collect.people and collect.judge out")
    if config.data.helpfulness_preferences or config.data.safety_preferences:
        raise ValueError("distill reads no preferences: take data.*_preferences out")
