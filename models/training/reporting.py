"""What a trainer tells the outside world, without knowing who listens."""

from typing import Protocol

SPEED = "tokens_per_second"
UTILISATION = ("mfu", "peak_flops")
"""Metrics that the clock decides: two trainings that are the same to the bit differ in them."""


class Reporter(Protocol):
    """Receives progress and metrics of one step."""

    def progress(self, fraction: float, text: str) -> None:
        """`fraction` in [0, 1] of the step is done; `text` says where it stands."""

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve, named as it appears in the catalog."""

    def log(self, text: str) -> None:
        """One line for the step's log."""


class Quiet:
    """A reporter that nobody listens to."""

    def progress(self, fraction: float, text: str) -> None:
        pass

    def metric(self, name: str, value: float, step: int) -> None:
        pass

    def log(self, text: str) -> None:
        pass
