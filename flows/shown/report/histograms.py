"""Histograms below one another, over the same axis: how a distribution moves."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from data_store.catalog.whole import Measured
from data_store.figures import figure, percent
from flows.shown.report.plots import COLOURS
from flows.shown.visible import visible
from tasks.engine.curves import ticks

_WIDE, _LEFT, _RIGHT = 400, 74, 10
_ROW, _GAP, _TOP, _BOTTOM = 34, 8, 18, 40
_APART = 1.0  # between bars


def histograms(
    title: str,
    unit: str,
    edges: Sequence[float],
    rows: Sequence[tuple[str, Sequence[Measured | None], Measured | None]],
) -> Markup:
    """The picture. `edges` (B + 1) are the ends of the bins; each row has a name, a share for each bin, and a mean,
    which a line marks. All rows have one scale. Without a share there is no picture."""
    most = max((bar.value for _, bars, _ in rows for bar in bars if bar is not None), default=0.0)
    if not most:
        return Markup("")
    high = _TOP + len(rows) * (_ROW + _GAP) + _BOTTOM
    scale = (_WIDE - _LEFT - _RIGHT) / (edges[-1] - edges[0])

    def x(value: float) -> float:
        return _LEFT + scale * (min(max(value, edges[0]), edges[-1]) - edges[0])

    body: list[Markup] = []
    for number, (name, bars, mean) in enumerate(rows):
        foot = _TOP + number * (_ROW + _GAP) + _ROW
        body.append(_text(_LEFT - 6, foot - 3, name, "end"))
        body.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, foot, _WIDE - _RIGHT))
        for k, bar in enumerate(bars):
            if bar is not None:
                left, right = x(edges[k]) + _APART / 2, x(edges[k + 1]) - _APART / 2
                told = f"{name}: {percent(bar.value)} from {figure(edges[k], 3)} to {figure(edges[k + 1], 3)}"
                told += "" if bar.n is None else f", n {figure(bar.n)}"
                body.append(
                    Markup(
                        '<path class="point s{}" d="M{:.1f} {}V{:.1f}H{:.1f}V{}Z" data-run="{}" data-metric="{}" '
                        'data-value="{}"><title>{}</title></path>'
                    ).format(
                        number % COLOURS, left, foot, foot - _ROW * bar.value / most, right, foot,
                        bar.run_id, bar.name, repr(bar.value), visible(told),
                    )
                )  # fmt: skip
        if mean is not None:
            told = f"{name}: mean {figure(mean.value)}"
            body.append(
                Markup('<path class="axis" d="M{:.1f} {}V{}"><title>{}</title></path>').format(
                    x(mean.value), foot, foot - _ROW, visible(told)
                )
            )
    for level in ticks(edges[0], edges[-1]):
        if edges[0] <= level <= edges[-1]:
            body.append(_text(x(level), high - _BOTTOM + 14, figure(level), "middle"))
    body.append(_text((_LEFT + _WIDE - _RIGHT) / 2, high - 8, unit, "middle unit"))
    means = (f"{name} {figure(mean.value)}" for name, _, mean in rows if mean is not None)
    said = f"{title}: means " + ", ".join(means)
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(_WIDE, high, visible(said), Markup("").join(body))


def _text(x: float, y: float, said: str, kind: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, kind, escape(visible(said)))
