"""Where steps are done: the config's `resources`."""

from pydantic import Field, field_validator

from models.config import Config

OF_RUNS = "halter"  # the work pool in which whole runs are done, one at a time
DEFAULT = "default"


class ResourceConfig(Config):
    """Where one step is done: here, or by a worker of a Prefect work pool. No part of what made a version."""

    work_pool: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="The Prefect work pool whose workers do it; empty: a process of this machine",
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="How often it is sent at the most, where the machine that does it dies"
    )

    @field_validator("work_pool")
    @classmethod
    def _is_not_of_runs(cls, pool: str | None) -> str | None:
        if pool == OF_RUNS:
            raise ValueError(
                f"{OF_RUNS} is the pool of whole runs, one at a time: a step there would wait for its own run; give "
                "another name"
            )
        return pool
