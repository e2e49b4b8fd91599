"""Plots as SVG: points with their intervals over the iterations, each series with a colour and a shape of its own.

Written by hand as the curves of a training are (`tasks/engine/curves.py`): a plotting library costs half a second to
import. Colours come from the page's style sheet, which has them for light, dark and paper; they are those of Okabe and
Ito, which colour-blind people tell apart, and no series is told by its colour alone. Numbers stand in `data-` fields,
too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from data_store.catalog.whole import Measured
from data_store.figures import figure
from flows.shown.visible import visible
from tasks.engine.curves import ticks

_WIDE, _HIGH = 400, 276
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 44
_ROW = 16  # of the legend
_LETTER = 6.1  # width of a letter of the legend, about
_INSIDE = 12.0  # from the ends of an axis of numbers to the first and the last of them
_APART = 9.0  # between points of several series at one place
COLOURS = 6  # classes s0 … s5 of the style sheet
_MOST_LABELS = 9


@dataclass(frozen=True)
class Series:
    """One figure at each place along the axis; None where there is none."""

    name: str
    points: Sequence[Measured | None]


def plot(
    title: str,
    unit: str,
    places: Sequence[str],
    series: Sequence[Series],
    *,
    within: tuple[float, float] | None = None,
    form: Callable[[float], str] = figure,
    across: Sequence[float] | None = None,
) -> Markup:
    """The picture. `places` are the labels along the axis below, a policy or an iteration each; `within`: what the axis
    at the left goes from and to at least. Values that are no numbers are left out. `across`: a number for each place,
    by which they stand, and which the axis below then counts."""
    drawn = [each for each in series if any(_is_real(point) for point in each.points)]
    numbers = [
        value
        for each in drawn
        for point in each.points
        if point is not None and _is_real(point)
        for value in (point.value, point.low, point.high)
        if value is not None and math.isfinite(value)
    ]
    if not numbers:
        return Markup("")
    legend, rows = _legend([each.name for each in drawn])
    least, most = min([*numbers, *(within or ())]), max([*numbers, *(within or ())])
    levels = ticks(least, most)
    frame = _Frame(_TOP + _ROW * rows, levels[0], levels[-1], len(places), across)
    body = [legend, *frame.axes(levels, unit, places, form)]
    for number, each in enumerate(drawn):
        shift = _APART * (number - (len(drawn) - 1) / 2) if len(drawn) > 1 and across is None else 0.0
        body += _drawn(frame, each, number % COLOURS, min(shift, frame.step / 3), form)
    said = f"{title}: " + "; ".join(_said(each, places, form) for each in drawn)
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(_WIDE, _HIGH + _ROW * rows, visible(said), Markup("").join(body))


@dataclass(frozen=True)
class _Frame:
    """Where values lie on the picture."""

    top: float
    least: float
    most: float
    places: int
    across: Sequence[float] | None = None

    @property
    def step(self) -> float:
        return (_WIDE - _LEFT - _RIGHT) / max(1, self.places)

    @property
    def high(self) -> float:
        return _HIGH - _TOP - _BOTTOM

    def x(self, place: int) -> float:
        return _LEFT + self.step * (place + 0.5) if self.across is None else self.along(self.across[place])

    def along(self, number: float) -> float:
        """Where a number of `across` stands."""
        least, most = min(self.across or (0.0,)), max(self.across or (0.0,))
        share = (number - least) / (most - least) if most > least else 0.5
        return _LEFT + _INSIDE + share * (_WIDE - _LEFT - _RIGHT - 2 * _INSIDE)

    def y(self, value: float) -> float:
        return self.top + self.high * (1 - (value - self.least) / ((self.most - self.least) or 1.0))

    def axes(
        self, levels: Sequence[float], unit: str, places: Sequence[str], form: Callable[[float], str]
    ) -> list[Markup]:
        """Lines and labels."""
        bottom = self.top + self.high
        found = [_text(4, self.top - 11, unit, "unit")]
        for level in levels:
            found.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, self.y(level), _WIDE - _RIGHT))
            found.append(_text(_LEFT - 5, self.y(level) + 4, form(level), "end"))
        found.append(
            Markup('<path class="axis" d="M{} {:.1f}V{:.1f}H{}"/>').format(_LEFT, self.top, bottom, _WIDE - _RIGHT)
        )
        if self.across is not None:
            least, most = min(self.across), max(self.across)
            shown = [level for level in ticks(least, most) if least <= level <= most] if most > least else [least]
            return found + [_text(self.along(level), bottom + 15, figure(level), "middle") for level in shown]
        every = math.ceil(len(places) / _MOST_LABELS)
        for number, label in enumerate(places):
            if number % every:
                continue
            first, _, second = label.partition(" ")
            found.append(_text(self.x(number), bottom + 15, first, "middle"))
            if second:
                found.append(_text(self.x(number), bottom + 27, second, "middle small"))
        return found


def _drawn(frame: _Frame, series: Series, colour: int, shift: float, form: Callable[[float], str]) -> list[Markup]:
    """Line, intervals and points of one series."""
    real = [(place, point) for place, point in enumerate(series.points) if point is not None and _is_real(point)]
    line = " ".join(f"{frame.x(place) + shift:.1f},{frame.y(point.value):.1f}" for place, point in real)
    found = [Markup('<polyline class="line s{}" points="{}"/>').format(colour, line)] if len(real) > 1 else []
    for place, point in real:
        x, y = frame.x(place) + shift, frame.y(point.value)
        if point.low is not None and point.high is not None:
            low, high = frame.y(point.low), frame.y(point.high)
            found.append(
                Markup('<path class="interval s{}" d="M{:.1f} {:.1f}V{:.1f}M{:.1f} {:.1f}h6M{:.1f} {:.1f}h6"/>').format(
                    colour, x, low, high, x - 3, low, x - 3, high
                )
            )
        told = f"{series.name}: {form(point.value)}" + (
            "" if point.low is None or point.high is None else f", {form(point.low)} to {form(point.high)}"
        )
        told += "" if point.n is None else f", n {figure(point.n)}"
        found.append(
            Markup(
                '<path class="point s{}" d="{}" data-run="{}" data-metric="{}" data-value="{}"><title>{}</title></path>'
            ).format(colour, _shape(colour, x, y), point.run_id, point.name, repr(point.value), visible(told))
        )
    return found


def _shape(number: int, x: float, y: float) -> str:
    """Circle, square, triangle, diamond, cross, triangle on its head."""
    shapes = (
        f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
        f"M{x - 3.6:.1f} {y - 3.6:.1f}h7.2v7.2h-7.2Z",
        f"M{x:.1f} {y - 4.6:.1f}l4.4 8h-8.8Z",
        f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5Z",
        f"M{x - 4:.1f} {y - 1.3:.1f}h2.7v-2.7h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7Z",
        f"M{x:.1f} {y + 4.6:.1f}l4.4 -8h-8.8Z",
    )
    return shapes[number % len(shapes)]


def _legend(names: Sequence[str]) -> tuple[Markup, int]:
    """The names with their shapes, and how many rows they take; none for one series alone, whose title says it."""
    if len(names) < 2:
        return Markup(""), 0
    found, x, row = [], float(_LEFT), 0
    for number, name in enumerate(names):
        wide = 18 + _LETTER * len(name) + 12
        if x + wide > _WIDE and x > _LEFT:
            x, row = float(_LEFT), row + 1
        y = 10.0 + _ROW * row
        colour = number % COLOURS
        found.append(Markup('<path class="point s{}" d="{}"/>').format(colour, _shape(colour, x + 5, y - 4)))
        found.append(_text(x + 14, y, name, "start"))
        x += wide
    return Markup("").join(found), row + 1


def _said(series: Series, places: Sequence[str], form: Callable[[float], str]) -> str:
    told = ", ".join(
        f"{place} {form(point.value)}"
        for place, point in zip(places, series.points, strict=True)
        if point is not None and _is_real(point)
    )
    return f"{series.name} {told}"


def _text(x: float, y: float, said: str, kind: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, kind, escape(visible(said)))


def _is_real(point: Measured | None) -> bool:
    return point is not None and math.isfinite(point.value)
