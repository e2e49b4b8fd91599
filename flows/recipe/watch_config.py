"""What a run is watched by: bounds at which it stops, and who is told."""

import math
import os
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from data_store.errors import InputError
from data_store.figures import figure
from models.config import Config

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]


class GateConfig(Config):
    """Bounds on one metric of one step. Where it is outside, the run stops after the step; `flows/gates.py` looks."""

    step: str = Field(description="A step, such as ppo or train_safety_reward")
    metric: str = Field(description="One of its metrics, such as kl; `halter status --json` and its report list them")
    at_least: float | None = Field(default=None, description="Lower bound, itself allowed")
    at_most: float | None = Field(default=None, description="Upper bound, itself allowed")
    iterations: tuple[str, ...] = Field(
        default=(), description="V1 …, base; empty: each RLHF iteration with the step, or the foundation for its steps"
    )

    @field_validator("step")
    @classmethod
    def _underscored(cls, step: str) -> str:
        return step.replace("-", "_")

    @model_validator(mode="after")
    def _bounds_something(self) -> "GateConfig":
        given = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not given:
            raise ValueError("a gate needs a bound: give at_least, at_most or both")
        if not all(map(math.isfinite, given)):
            raise ValueError("the bound of a gate must be a finite number")
        if given != sorted(given):
            raise ValueError(
                f"at_least {figure(self.at_least, 6)} is above at_most {figure(self.at_most, 6)}: no value would pass"
            )
        return self

    def holds(self, value: float) -> bool:
        """Whether the value is within the bounds; NaN never is."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= value <= high

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        given = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {figure(bound, 6)}" for word, bound in given if bound is not None)


class NotifyConfig(Config):
    """Who is told when a run fails or stops at a gate. `halter serve` sets it up."""

    webhook_url_env: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the webhook's address; the address itself is a secret",
    )

    def take_address(self) -> str:
        """The webhook's address, taken out of the environment, so that no process started later inherits it. Raises
        InputError where there is none; the message does not repeat what is there."""
        name = self.webhook_url_env
        found = os.environ.pop(name, "")
        if not found:
            raise InputError(f"notify.webhook_url_env: the environment has no {name}; set it to the webhook's address")
        parts = urlsplit(found)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"notify.webhook_url_env: {name} holds no address such as https://hooks.example.org/…")
        return found
