"""Where steps are done: the config's `resources`."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from models.config import Config

OF_RUNS = "halter"  # the work pool in which whole runs are done, one at a time
DEFAULT = "default"

ADDRESS = r"^([A-Za-z0-9_.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$"


class WorkerConfig(Config):
    """Which workers do something, and how often it is given to one at the most."""

    ray: str | None = Field(
        default=None,
        max_length=300,
        pattern=ADDRESS,
        description="The address of a Ray cluster whose workers do it, HOST:PORT of its head; this machine must be a "
        "node of it",
    )
    cpus: float | None = Field(default=None, gt=0, le=4096, description="With ray: processors that it takes; empty: 1")
    gpus: float | None = Field(
        default=None, gt=0, le=64, description="With ray: GPUs that it takes, a part of one too; empty: none"
    )
    memory_gb: float | None = Field(
        default=None, gt=0, le=1e5, description="With ray: memory that must be free for it; empty: Ray does not ask"
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="How often it is sent at the most, where the machine that does it dies"
    )

    @model_validator(mode="after")
    def _is_asked_of_ray(self) -> Self:
        asked = [name for name in ("cpus", "gpus", "memory_gb") if getattr(self, name) is not None]
        if asked and self.ray is None:
            raise ValueError(f"{', '.join(asked)} can be asked of a Ray cluster alone: give its address in ray")
        return self


class ShardsConfig(WorkerConfig):
    """Where the shards of a step's drawing, scoring and judging are done: `sampling.shards` of the step's section, or
    `shards` of a judge, says how many there are, and is part of what made a version; this is not."""

    ray: str = Field(
        max_length=300,
        pattern=ADDRESS,
        description="The address of the Ray cluster, HOST:PORT of its head; the step's machine must be a node of it",
    )


class ResourceConfig(WorkerConfig):
    """Where one step is done: here, by a worker of a Prefect work pool, or by one of a Ray cluster. No part of what
    made a version."""

    work_pool: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="The Prefect work pool whose workers do it; empty, without ray: a process of this machine",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Machines that share its training, each with its part of the section's processes; cpus, gpus and "
        "memory_gb are of each",
    )
    wait_minutes: float = Field(
        default=30, gt=0, le=1e5, description="With nodes: so long those that have come wait for the others"
    )
    shards: ShardsConfig | None = Field(
        default=None, description="Where what it draws, scores and judges is done, in shards; empty: where the step is"
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

    @model_validator(mode="after")
    def _is_done_once(self) -> Self:
        if self.work_pool is not None and self.ray is not None:
            raise ValueError("a step is done by a work pool or by a Ray cluster: take work_pool or ray out")
        if self.nodes > 1 and self.is_here:
            raise ValueError("nodes are workers of a work pool or of a Ray cluster: give work_pool or ray")
        return self

    @property
    def is_here(self) -> bool:
        """Whether a process of this machine does it."""
        return self.work_pool is None and self.ray is None
