"""What language models that judge share: the config that is recorded of them."""

from typing import Any

from pydantic import Field

from data_store.reading.preference_formats.options import RatingGaps
from tasks.judging.folder_use import FolderUse
from tasks.judging.judge import JudgeStepConfig, Judging
from tasks.judging.verdicts import VerdictConfig


class LMConfig(FolderUse, VerdictConfig):
    """How answers of language models become judgements."""

    log_odds: RatingGaps = Field(
        default=RatingGaps(significantly_better=4, better=2, slightly_better=0.5),
        description="Of a folder: the log-odds of the choice, mean of both orders → rating",
    )


class LMStepConfig(LMConfig, JudgeStepConfig):
    """The same for judge_pairs."""

    asks: str | None = Field(default=None, description="Of an endpoint: a hash of what it is asked")


def lm_step_config(judging: Judging, **values: Any) -> LMStepConfig:
    """Of the judge that the config names."""
    kept = {name: getattr(judging.model, name) for name in LMConfig.model_fields}
    return LMStepConfig(**kept, annotator=judging.model.annotator, shares=judging.shares, **values)
