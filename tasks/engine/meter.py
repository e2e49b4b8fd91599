"""Who measures what a step draws, as the engine sees it."""

from collections.abc import Sequence
from typing import Protocol

from data_store.records import Metric


class Meter(Protocol):
    """`problem` tells why there are no numbers; empty where there are, or where nobody asked for them."""

    problem: str

    def begin(self, run_id: str) -> None:
        """A step's run computes from now on."""

    def end(self, run_id: str) -> Sequence[Metric]:
        """Its numbers, when it has ended; nothing the second time."""


class _NoMeter:
    """Nobody measures."""

    problem = ""

    def begin(self, run_id: str) -> None:
        """Nothing happens."""

    def end(self, run_id: str) -> Sequence[Metric]:
        """No numbers."""
        return ()


NO_METER: Meter = _NoMeter()
