"""People judge on the annotation page, while the iteration or the evaluation waits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from models.config import Config
from tasks.judging.judge import Judge, Judging, Need


class BatchConfig(Config):
    """What is asked of people who judge a batch of pairs on the annotation page."""

    per_item: int = Field(default=1, ge=1, description="So many people judge each pair")
    quota: int | None = Field(
        default=None, ge=1, description="So many judgements are enough; empty: quota_percent decides"
    )
    quota_percent: int = Field(default=100, ge=1, le=100, description="Or this share of the pairs")
    deadline_hours: float | None = Field(default=None, gt=0, description="From the opening of the batch; empty: none")
    attention_checks: int = Field(
        default=0, ge=0, description="Pairs whose right answer is known, shown to everybody in between"
    )
    known_pairs: Path | None = Field(
        default=None, description="Judged pairs to take attention checks from, beside those people were of one mind on"
    )

    @model_validator(mode="after")
    def _one_quota(self) -> Self:
        if self.quota is not None and self.quota_percent != 100:
            raise ValueError("quota and quota_percent are two ways to say the same: give one of them")
        return self

    def pairs_wanted(self, pairs: int) -> int:
        """How many of the pairs that were drawn must have all their judgements; never more than there are."""
        if self.quota is not None:
            return min(pairs, -(-self.quota // self.per_item))
        return -(-pairs * self.quota_percent // 100)


class PeopleConfig(BatchConfig):
    """People who judge on the annotation page while the iteration waits. Holds for batches that are opened from now on;
    `at_deadline` for all."""

    at_deadline: Literal["train_on_what_is_there", "fail"] = Field(
        default="fail", description="What happens where the deadline comes before the quota"
    )
    written_pairs: int = Field(
        default=0, ge=0, description="So many more pairs come of prompts that people write, where policies answer"
    )


class EvaluatingPeopleConfig(BatchConfig):
    """People who judge an evaluation on the annotation page. Holds for batches that are opened from now on;
    `at_deadline` for all."""

    at_deadline: Literal["judge_by_what_is_there", "fail"] = Field(
        default="fail", description="What happens where the deadline comes before the quota"
    )
    prompts: int = Field(
        default=100,
        ge=1,
        description="So many of the held-out prompts, drawn at random, the same ones of every policy: a pair with each "
        "policy that is compared",
    )
    kinds: tuple[Literal["ordinary", "borderline", "adversarial"], ...] = Field(
        default=(), description="Prompts of these kinds alone, where the others have a judge; empty: of all"
    )
    policies: Literal["last", "every"] = Field(
        default="last", description="Which policies they judge: the last one, or that of each iteration"
    )


class People(Judge):
    """All pairs, or so many as the quota says."""

    role = "judgements"

    def is_given(self, judging: Judging) -> bool:
        """By `collect.people`."""
        return judging.people is not None

    def reads(self, judging: Judging) -> Mapping[str, Need]:
        """Their judgements of the pairs, once they are there."""
        return {"pairs": "dataset/pairs", self.role: judging.people}
