"""What a run takes in each time it is started."""

from typing import Literal

from pydantic import Field

from models.config import Config


class ScheduleConfig(Config):
    """What a start of the recipe, by a schedule or by hand, takes in beside what is stale. See docs/schedule.md."""

    take_in: Literal["nothing", "next_iteration"] = Field(
        default="nothing",
        description="nothing: bring up to date what is stale; next_iteration: append V(n+1) where new preferences came",
    )
    max_iterations: int = Field(default=10, ge=1, le=99, description="No iteration is appended beyond this number")

    def check_beside(self, iterations: int) -> None:
        """Raises ValueError for iterations of the config to which none can be added."""
        if self.take_in != "next_iteration":
            return
        if not iterations:
            raise ValueError("schedule.take_in: next_iteration needs an iteration that others follow: raise iterations")
        if self.max_iterations < iterations:
            raise ValueError(f"schedule.max_iterations {self.max_iterations} is below iterations {iterations}")
