"""A figure of a sample. By itself, so that steps which estimate nothing have nothing of it in their code."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A figure measured on a sample: `value`, of `n` items; at 95 % it lies between `low` and `high`, which are None
    where no interval is known. `judge` names who decided what was counted; None where nobody had to."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    judge: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; JSON has no number that is not finite."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }
