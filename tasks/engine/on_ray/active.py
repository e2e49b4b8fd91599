"""Whether drawing and scoring of the step that this process does go to a cluster. A module of its own: a step that
draws reaches it, and must not reach what only a store in a bucket needs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn

    from models.config import SamplingConfig
    from models.generation import Request, Response
    from models.verdicts import VerdictTokens
    from tasks.engine.on_ray.shards import Model

_active: "Spreads | None" = None


class Spreads(Protocol):
    """Somewhere else where shards are done."""

    def models(self, models: "Sequence[nn.Module]") -> "tuple[Model, ...] | None":
        """These models as they are opened there; None where that cannot be."""

    def draw(
        self,
        models: "tuple[Model, ...]",
        requests: "Sequence[Request]",
        config: "SamplingConfig",
        *,
        end_ids: Sequence[int],
        pad_id: int,
        policy: "nn.Module",
        on_progress: Callable[[float], None],
    ) -> "list[list[Response]]":
        """The responses to each request."""

    def score(
        self,
        models: "tuple[Model, ...]",
        groups: Sequence[Sequence[Sequence[int]]],
        config: "SamplingConfig",
        *,
        pad_id: int,
        reward: "nn.Module",
        on_progress: Callable[[float], None],
        tokens: "VerdictTokens | None" = None,
    ) -> list[list[tuple[float, ...]]]:
        """Of each row of each group the scores; with `tokens` of a verdict, its log-odds."""


def active() -> Spreads | None:
    """Where; None where this process does all by itself."""
    return _active


@contextmanager
def spread_by(spread: Spreads) -> Iterator[None]:
    """For the length of a block."""
    global _active
    try:
        _active = spread
        yield
    finally:
        _active = None
