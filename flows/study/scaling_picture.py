"""Held-out loss against tokens, both on logarithmic axes: a line a size of model, intervals, seeds, and the power law
where it fits."""

import math
from collections.abc import Mapping, Sequence

from data_store.figures import figure
from flows.study.config import StudyConfig
from flows.study.picture import DOT, FAINT, GREY, frame, picture, text
from flows.study.results import Row
from flows.study.scaling import Point, laws_in_words, lines_of, loss_in_words, power_law
from tasks.engine.curves import ticks

_WIDE, _HIGH = 1000, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 30, 80, 60
_COLOURS = (DOT, "#c05621", "#2f855a", "#6b46c1", "#b83280", "#975a16")
_LAW_STEPS = 24


def _scaling(title: str, words: str, lines: Mapping[float, Sequence[Point]]) -> str | None:
    """SVG; None where nothing was pretrained yet. `words`: what the intervals are of."""
    points = [point for each in lines.values() for point in each]
    if not points:
        return None
    tokens = [point.tokens for point in points]
    losses = [x for p in points for x in (p.loss.value, p.loss.low, p.loss.high, *p.seeds) if x is not None and x > 0]
    across = _Axis(min(tokens) / 1.15, max(tokens) * 1.15, _LEFT, _WIDE - _RIGHT)
    marks = ticks(min(losses), max(losses))
    lowest = min(losses) * 0.98 if marks[0] <= 0 else min(marks[0], min(losses))
    up = _Axis(lowest, max(marks[-1], max(losses)), _HIGH - _BOTTOM, _TOP)
    drawn = [text(12, 24, title, font_size=16), text(12, 44, words, fill=GREY)]
    for value in (mark for mark in marks if up.low <= mark <= up.high):
        drawn.append(f'<path d="M{_LEFT} {up(value):.1f}H{_WIDE - _RIGHT}" stroke="{FAINT}"/>')
        drawn.append(text(_LEFT - 8, up(value) + 4, figure(value), text_anchor="end"))
    for value in _round_numbers(across.low, across.high):
        drawn.append(f'<path d="M{across(value):.1f} {_TOP}V{_HIGH - _BOTTOM}" stroke="{FAINT}"/>')
        drawn.append(text(across(value), _HIGH - _BOTTOM + 16, figure(value), text_anchor="middle"))
    below = _HIGH - _BOTTOM + 34
    drawn.append(text(_WIDE / 2, below, "tokens trained on (logarithmic)", text_anchor="middle"))
    drawn.append(text(_LEFT, _TOP - 6, "loss on held-out documents, nats per token (logarithmic)", fill=GREY))
    told = laws_in_words(lines)
    for place, of in enumerate(lines.values()):
        colour = _COLOURS[place % len(_COLOURS)]
        drawn += _line(of, across, up, colour)
        drawn.append(text(_LEFT, _HIGH + 14 + 18 * place, f"● {told[place]}", fill=colour))
    return frame(_WIDE, _HIGH + 18 * len(lines) + 10, "".join(drawn))


def picture_of(config: StudyConfig, rows: Sequence[Row]) -> str | None:
    """The study as an SVG; None where nothing is measured yet."""
    if config.scaling is None:
        return picture(config.name, rows)
    return _scaling(config.name, loss_in_words(rows), lines_of(rows, config.scaling))


class _Axis:
    """Values on a logarithmic axis between two places of the picture."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.high, self._begin, self._end = low, high, begin, end

    def __call__(self, value: float) -> float:
        span = math.log(self.high / self.low) or 1.0
        return self._begin + (self._end - self._begin) * math.log(value / self.low) / span


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten in between."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]


def _line(points: Sequence[Point], across: _Axis, up: _Axis, colour: str) -> list[str]:
    law = power_law(points)
    if law is not None and law.fits:
        first, last = points[0].tokens, points[-1].tokens
        along = [first * (last / first) ** (step / _LAW_STEPS) for step in range(_LAW_STEPS + 1)]
        path = " ".join(f"{across(each):.1f},{up(law.at(each)):.1f}" for each in along)
        drawn = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="5 4"/>']
    else:
        path = " ".join(f"{across(point.tokens):.1f},{up(point.loss.value):.1f}" for point in points)
        drawn = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-opacity="0.3"/>']
    for point in points:
        x = across(point.tokens)
        drawn += [f'<circle cx="{x:.1f}" cy="{up(each):.1f}" r="2.5" fill="{GREY}"/>' for each in point.seeds]
        low, high = point.loss.low, point.loss.high
        if low is not None and high is not None and low > 0:
            drawn.append(f'<path d="M{x:.1f} {up(low):.1f}V{up(high):.1f}" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<circle cx="{x:.1f}" cy="{up(point.loss.value):.1f}" r="4.5" fill="{colour}"/>')
    return drawn
