"""The figures of a study as a picture: a panel a metric, a line a variant, with mean, interval and each seed."""

import base64
import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from data_store.estimate import Estimate
from flows.study.results import Row, columns_in, interval_in_words
from tasks.engine.curves import ticks
from tasks.evaluations.evaluation import Measure

_WIDE, _LABELS, _LINE, _HEAD, _FOOT = 1000, 330, 22, 34, 30
_INK, FAINT, DOT, GREY = "#1a202c", "#e2e8f0", "#2b6cb0", "#718096"
_MOST_LETTERS = 52


def picture(title: str, rows: Sequence[Row]) -> str | None:
    """SVG of the metrics of a run's first table; None where no variant has any."""
    panels, top = [], _HEAD + 22
    for name, of in columns_in(rows).items():
        estimates = [row.estimate(of.name) for row in rows]
        if of.first and any(each is not None and math.isfinite(each.value) for each in estimates):
            panels.append(f'<g transform="translate(0,{top})">{_panel(name, of, rows, estimates)}</g>')
            top += _HEAD + _LINE * len(rows) + _FOOT
    if not panels:
        return None
    head = text(12, 24, title, font_size=16) + text(12, 44, interval_in_words(rows), fill=GREY)
    return frame(_WIDE, top, head + "".join(panels))


def frame(wide: float, high: float, drawn: str) -> str:
    """A whole SVG of what is drawn, on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'font-family="Inter, Helvetica, Arial, sans-serif" font-size="12" fill="{_INK}">'
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>{drawn}</svg>'
    )


def data_url(svg: str) -> str:
    """The picture as the Prefect UI takes it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _panel(title: str, metric: Measure, rows: Sequence[Row], estimates: Sequence[Estimate | None]) -> str:
    found = [each for each in estimates if each is not None]
    ends = [x for each in found for x in (each.value, each.low, each.high) if x is not None]
    ends += [value for row in rows for value in row.values(metric.name)]
    marks = ticks(min(filter(math.isfinite, ends)), max(filter(math.isfinite, ends)))
    wide, span = _WIDE - _LABELS - 40, marks[-1] - marks[0]

    def x(value: float) -> float:
        return _LABELS + wide * (value - marks[0]) / span

    high = _LINE * len(rows)
    drawn = [text(12, 22, title, font_size=14, font_weight=600)]
    for mark in marks:
        drawn.append(f'<path d="M{x(mark):.1f} {_HEAD}v{high}" stroke="{FAINT}"/>')
        drawn.append(text(x(mark), _HEAD + high + 16, metric.form(mark), text_anchor="middle"))
    for place, (row, of) in enumerate(zip(rows, estimates, strict=True)):
        y = _HEAD + _LINE * (place + 0.5)
        label = row.label if len(row.label) <= _MOST_LETTERS else f"{row.label[: _MOST_LETTERS - 1]}…"
        drawn.append(text(_LABELS - 10, y + 4, label, text_anchor="end"))
        if of is None or not math.isfinite(of.value):
            drawn.append(text(_LABELS + 6, y + 4, "not measured", fill=GREY))
            continue
        each = filter(math.isfinite, row.values(metric.name))
        drawn += [f'<circle cx="{x(value):.1f}" cy="{y}" r="3" fill="{GREY}"/>' for value in each]
        if of.low is not None and of.high is not None and math.isfinite(of.high - of.low):
            drawn.append(f'<path d="M{x(of.low):.1f} {y}H{x(of.high):.1f}" stroke="{DOT}" stroke-width="2"/>')
        drawn.append(f'<circle cx="{x(of.value):.1f}" cy="{y}" r="4.5" fill="{DOT}"/>')
    return "".join(drawn)


def text(x: float, y: float, words: str, **attributes: str | int) -> str:
    """A line of text at a place."""
    given = " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" {given}>{escape(words)}</text>'
