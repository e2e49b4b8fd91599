"""Policies by name that those of a run are compared with, beside SFT's and that of the iteration before."""

from pathlib import Path

from pydantic import Field, model_validator

from models.config import Config
from tasks.judging.judgements import PREVIOUS

NAME = "^[a-z][a-z0-9_]{0,23}$"
"""Of a judge or a policy: it stands in the names of steps, assets and metrics."""


class ComparedConfig(Config):
    """A policy that those of the run are compared with."""

    name: str = Field(pattern=NAME, description="Stands in the figures, as in win_rate/against_NAME@JUDGE")
    policy: str | None = Field(
        default=None,
        pattern=r"^V[1-9][0-9]?(:[a-z_]+)?$",
        description="A policy of this run: V2, or V2:fine_tune for the one that a step of V2 made",
    )
    version: str | None = Field(
        default=None, description="Or a version of this run's store: its id, its first digits, or kind/name@part"
    )
    folder: Path | None = Field(default=None, description="Or a chat model's folder (safetensors)")

    @model_validator(mode="after")
    def _is_one(self) -> "ComparedConfig":
        if sum(each is not None for each in (self.policy, self.version, self.folder)) != 1:
            raise ValueError("give policy, version or folder, one of them")
        if self.name == PREVIOUS:
            raise ValueError("previous is the iteration before: take another name")
        return self

    @property
    def answers_here(self) -> bool:
        """Whether it has no answers of its own in this run, and is to answer the held-out prompts."""
        return self.policy is None
