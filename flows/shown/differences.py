"""How sure a difference between two policies is that answered the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.algorithms.intervals import bootstrap_interval


@dataclass(frozen=True)
class Difference:
    """The mean difference, b minus a, over n pairs of values, with its paired bootstrap interval; `changed` of the
    pairs differ at all."""

    value: float
    low: float
    high: float
    n: int
    changed: int

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves 0 out. Where no pair differs there is nothing to resample."""
        return bool(self.changed) and (self.low > 0 or self.high < 0)


def difference(pairs: Sequence[tuple[str, float, float]]) -> Difference | None:
    """Of (name of the pair, a, b); None of fewer than two pairs, which have no spread."""
    if len(pairs) < 2:
        return None
    values = [b - a for _, a, b in pairs]
    low, high = bootstrap_interval(values)
    return Difference(sum(values) / len(values), low, high, len(values), sum(map(bool, values)))
