"""How the loss on held-out text falls with the tokens that were trained on, for each size of model of a study."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_store.estimate import Estimate
from data_store.figures import figure, interval
from flows.study.results import Row

_LEAST_POINTS, _FITS = 3, 0.95


@dataclass(frozen=True)
class Point:
    """A variant that was pretrained: its parameters, the tokens that were trained on, the loss on held-out documents in
    nats per token (over seeds; of one seed over documents), and that of each seed."""

    parameters: float
    tokens: float
    loss: Estimate
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class PowerLaw:
    """loss = scale · tokens^(-exponent) (Kaplan and others, arXiv 2001.08361, section 1.2), by least squares of the
    logarithms; `explained` is their R²."""

    scale: float
    exponent: float
    explained: float

    def at(self, tokens: float) -> float:
        """The loss that the law gives."""
        return self.scale / math.pow(tokens, self.exponent)

    @property
    def fits(self) -> bool:
        """Whether the logarithms lie near a line that falls."""
        return self.explained >= _FITS and self.exponent > 0


def lines_of(rows: Iterable[Row], source: str) -> dict[float, list[Point]]:
    """Parameters → points in the order of their tokens, of the variants that were pretrained with this source."""
    lines: dict[float, list[Point]] = {}
    for row in rows:
        made = [run for run in row.runs if f"heldout_loss/{source}" in run.pretrained]
        if not made:
            continue
        loss = row.estimate(f"heldout_loss/{source}", pretrained=True)
        losses = tuple(run.pretrained[f"heldout_loss/{source}"] for run in made)
        if loss is not None and math.isfinite(loss.value):
            first = made[0].pretrained
            lines.setdefault(first["parameters"], []).append(
                Point(first["parameters"], first["trained_tokens"], loss, losses)
            )
    return {size: sorted(lines[size], key=lambda point: point.tokens) for size in sorted(lines)}


def power_law(points: Sequence[Point]) -> PowerLaw | None:
    """The law of one size of model; None of fewer than three different counts of tokens."""
    if len({point.tokens for point in points}) < _LEAST_POINTS:
        return None
    x = [math.log(point.tokens) for point in points]
    y = [math.log(point.loss.value) for point in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    all_of_it = sum((each - mean_y) ** 2 for each in y)
    left = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    explained = 1 - left / all_of_it if all_of_it else 0.0
    return PowerLaw(math.exp(mean_y - slope * mean_x), -slope, explained)


def table_of(lines: Mapping[float, Sequence[Point]]) -> list[dict[str, object]]:
    """A row a point, for people."""
    rows: list[dict[str, object]] = []
    for size, points in lines.items():
        for point in points:
            loss = figure(point.loss.value)
            if point.loss.low is not None and point.loss.high is not None:
                loss = f"{loss} {interval(point.loss.low, point.loss.high)}"
            rows.append({"parameters": figure(size), "tokens": figure(point.tokens), "held-out loss": loss})
    return rows


def laws_in_words(lines: Mapping[float, Sequence[Point]]) -> list[str]:
    """A line for each size of model: its law, or why there is none."""
    found = []
    for size, points in lines.items():
        law, named = power_law(points), f"{figure(size)} parameters"
        if law is None:
            found.append(f"{named}: no law of fewer than {_LEAST_POINTS} counts of tokens")
            continue
        told = f"loss = {figure(law.scale, 3)} · tokens^{figure(-law.exponent, 3)}, R² {figure(law.explained, 3)}"
        found.append(f"{named}: {told if law.fits else f'no power law fits ({told})'}")
    return found


def loss_in_words(rows: Iterable[Row]) -> str:
    """What the intervals are of."""
    counts = {sum(bool(run.pretrained) for run in row.runs) for row in rows} - {0}
    if counts == {1}:
        return "one seed; 95 % intervals over held-out documents: what another seed would change is not known"
    return "mean over seeds with the 95 % interval of the mean by Student's t; of one seed alone over documents"


def as_json(lines: Mapping[float, Sequence[Point]]) -> list[dict[str, Any]]:
    """Plain values, a size of model each."""
    found = []
    for size, points in lines.items():
        law = power_law(points)
        told = None if law is None else {**asdict(law), "fits": law.fits}
        found.append({"parameters": size, "points": [asdict(point) for point in points], "power_law": told})
    return found
