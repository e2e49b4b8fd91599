"""Small multiples: processor time against size, both logarithmic, with the line of what is linear behind."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.slopes.works import WORKS
from flows.study.picture import DOT, FAINT, GREY, frame, text

_WIDE, _HIGH, _COLUMNS = 300, 190, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 44, 34


def picture(stages: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """An SVG with a panel for each stage's (size, seconds, MB)."""
    rows = math.ceil(len(stages) / _COLUMNS)
    drawn = []
    for number, (name, points) in enumerate(stages.items()):
        place = f"translate({_WIDE * (number % _COLUMNS)} {_HIGH * (number // _COLUMNS)})"
        drawn.append(f'<g transform="{place}">{_panel(name, points)}</g>')
    return frame(_WIDE * _COLUMNS, _HIGH * rows, "".join(drawn))


def _panel(name: str, points: Sequence[Sequence[float]]) -> str:
    sizes, seconds = [point[0] for point in points], [max(point[1], 1e-4) for point in points]
    low, high = min(seconds) / 1.5, max(seconds) * 1.5

    def across(size: float) -> float:
        return _LEFT + (_WIDE - _LEFT - _RIGHT) * math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def up(value: float) -> float:
        return _HIGH - _BOTTOM - (_HIGH - _BOTTOM - _TOP) * math.log(value / low) / math.log(high / low)

    begin = max(low, seconds[-1] * sizes[0] / sizes[-1])
    linear = (
        f"{across(begin / seconds[-1] * sizes[-1]):.1f} {up(begin):.1f}L{across(sizes[-1]):.1f} {up(seconds[-1]):.1f}"
    )
    path = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in zip(sizes, seconds, strict=True))
    said = WORKS[name]
    drawn = [
        text(_LEFT, 18, said.about.replace("`", ""), font_size=13),
        text(_LEFT, 34, f"CPU s; along: {said.along}", fill=GREY, font_size=10),
        f'<path d="M{_LEFT} {_TOP}V{_HIGH - _BOTTOM}H{_WIDE - _RIGHT}" fill="none" stroke="{FAINT}"/>',
        f'<path d="M{linear}" stroke="{GREY}" stroke-dasharray="4 4"/>',
        f'<polyline points="{path}" fill="none" stroke="{DOT}" stroke-width="1.5"/>',
    ]
    for size, value in zip(sizes, seconds, strict=True):
        drawn.append(f'<circle cx="{across(size):.1f}" cy="{up(value):.1f}" r="3" fill="{DOT}"/>')
        drawn.append(text(across(size), _HIGH - _BOTTOM + 14, f"{size:,.0f}", text_anchor="middle", font_size=9))
    for value in (seconds[0], seconds[-1]):
        drawn.append(text(_LEFT - 4, up(value) + 3, f"{value:.2g}", text_anchor="end", font_size=9))
    return "".join(drawn)
