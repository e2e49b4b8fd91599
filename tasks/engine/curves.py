"""The curves of a training as pictures: the four that tell most in the first one, the others in further ones.

The SVG is written by hand. A plotting library took ten times as long for the same, and its import half a second.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from data_store.figures import figure
from data_store.records import Metric

FIRST, FURTHER = 4, 6  # curves in the first picture, and in each further one
_COLUMNS = 2
_WIDE, _HIGH = 420, 250  # of one panel; two of them are as wide as an artifact on a page of 1,400 pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 46
_INK, _FAINT, _LINE = "#1a202c", "#e2e8f0", "#2b6cb0"


@dataclass(frozen=True)
class Meaning:
    """What a curve is called, and in what it is measured; the unit is empty for a number without one."""

    title: str
    unit: str


# By the last part of a metric's name, important ones first. What is not here comes after these, under its own name.
MEANINGS = {
    "reward": Meaning("Reward", "mean combined reward"),
    "kl": Meaning("KL to the reference", "nats per response"),
    "length": Meaning("Length of answers", "tokens"),
    "accuracy": Meaning("Accuracy", "share of pairs"),
    "validation_reward": Meaning("Reward, held-out", "mean combined reward"),
    "validation_accuracy": Meaning("Accuracy, held-out", "share of pairs"),
    "validation_kl": Meaning("KL to the reference, held-out", "nats per response"),
    "validation_loss": Meaning("Loss, held-out", "nats per pair"),
    "loss": Meaning("Loss", "nats per token"),
    "safety_reward": Meaning("Safety reward", "mean raw score"),
    "margin": Meaning("Margin between the answers", "nats"),
    "finished": Meaning("Answers that came to their end", "share"),
    "entropy": Meaning("Entropy of the policy", "nats per token"),
    "kl_k3": Meaning("KL to the reference, k3 estimate", "nats per response"),
    "approx_kl": Meaning("KL of an update", "nats per token"),
    "clip_fraction": Meaning("Clipped tokens", "share"),
    "ratio_mean": Meaning("Ratio to the old policy, mean", "ratio"),
    "ratio_max": Meaning("Ratio to the old policy, largest", "ratio"),
    "policy_loss": Meaning("Policy loss", ""),
    "value_loss": Meaning("Value loss", ""),
    "explained_variance": Meaning("Variance that the value model explains", "share"),
    "dpo_loss": Meaning("DPO loss", "nats per pair"),
    "nll": Meaning("Loss of the chosen answers", "nats per token"),
    "chosen_logprob": Meaning("Log-probability of chosen answers", "nats"),
    "rejected_logprob": Meaning("Log-probability of rejected answers", "nats"),
    "grad_norm": Meaning("Norm of the gradient", "before clipping"),
    "policy_grad_norm": Meaning("Norm of the policy's gradient", "before clipping"),
    "value_grad_norm": Meaning("Norm of the value model's gradient", "before clipping"),
    "learning_rate": Meaning("Learning rate", "per step"),
}
_HELD_OUT = "validation_"
_PER_PAIR = ("reward/loss", "dpo/loss")
_ORDER = list(MEANINGS)


def meaning_of(name: str) -> Meaning:
    """Title and unit of a metric such as `ppo/kl`."""
    if name in _PER_PAIR:
        return Meaning(MEANINGS["loss"].title, "nats per pair")
    last = name.rpartition("/")[2]
    of = last.removeprefix(_HELD_OUT)
    if last not in MEANINGS and of in MEANINGS:
        return Meaning(f"{MEANINGS[of].title}, held-out", MEANINGS[of].unit)
    return MEANINGS.get(last) or Meaning(last.replace("_", " "), "")


def pictures(curves: Iterable[Metric]) -> list[str]:
    """The curves as SVG in data URLs, important ones first."""
    points: dict[str, list[tuple[int, float]]] = {}
    for metric in curves:
        points.setdefault(metric.name, []).append((metric.step, metric.value))
    names = sorted(points, key=_place)
    shares = [names[:FIRST], *(names[start : start + FURTHER] for start in range(FIRST, len(names), FURTHER))]
    return [_data_url(_picture([(name, sorted(points[name])) for name in share])) for share in shares if share]


def _place(name: str) -> tuple[int, str]:
    last = name.rpartition("/")[2]
    known = last if last in MEANINGS else last.removeprefix(_HELD_OUT)
    return (_ORDER.index(known) if known in MEANINGS else len(_ORDER), name)


def ticks(least: float, most: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart), each above the one before, from the last one at or below
    `least` to the first at or above `most`."""
    size = max(abs(least), abs(most))
    span = most - least if most - least > 1e-12 * size else size or 1.0  # else it is of rounding
    if not 1e-290 < span < 1e290:  # a power of ten of it would leave the range of numbers
        return [least, most if most > least else least + 1.0]
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(least / apart + 1e-9), math.ceil(most / apart - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(apart)))
    return [round(number * apart, digits) for number in range(first, max(last, first + 1) + 1)]


def _picture(curves: Sequence[tuple[str, list[tuple[int, float]]]]) -> str:
    columns = min(_COLUMNS, len(curves))
    wide, high = _WIDE * columns, _HIGH * -(-len(curves) // columns)
    panels = [
        f'<g transform="translate({_WIDE * (place % columns)},{_HIGH * (place // columns)})">{_panel(*curve)}</g>'
        for place, curve in enumerate(curves)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'font-family="Inter, Helvetica, Arial, sans-serif" font-size="11" fill="{_INK}">'
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>{"".join(panels)}</svg>'
    )


def _panel(name: str, points: Sequence[tuple[int, float]]) -> str:
    """One curve with its title, unit, axes and ticks."""
    meaning = meaning_of(name)
    real = [(step, value) for step, value in points if math.isfinite(value)]
    lost = len(points) - len(real)
    wide, high = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM
    drawn = [
        _text(_LEFT, 20, meaning.title, 'font-size="13" font-weight="600"'),
        _text(_WIDE - _RIGHT, 20, name, 'text-anchor="end" fill="#718096" font-size="10"'),
        _text(_LEFT + wide / 2, _HIGH - 10, _steps_of(name), 'text-anchor="middle"'),
    ]
    if meaning.unit:
        middle = _TOP + high / 2
        turned = f'text-anchor="middle" transform="rotate(-90 13 {middle:.1f})"'
        drawn.append(_text(13, middle, meaning.unit, turned))
    if lost:
        drawn.append(_text(_LEFT + 6, _TOP + 14, f"{lost} of {len(points)} values are no numbers", 'fill="#c53030"'))
    if not real:
        return "".join(drawn)
    steps, values = [step for step, _ in real], [value for _, value in real]
    levels, marks = ticks(min(values), max(values)), _step_ticks(steps[0], steps[-1])
    across, up = (steps[-1] - steps[0]) or 1, levels[-1] - levels[0]

    def x(step: float) -> float:
        return _LEFT + wide * ((step - steps[0]) / across if len(set(steps)) > 1 else 0.5)

    def y(value: float) -> float:
        return _TOP + high * (1 - (value - levels[0]) / up)

    for level in levels:
        drawn.append(f'<path d="M{_LEFT} {y(level):.1f}h{wide}" stroke="{_FAINT}"/>')
        drawn.append(_text(_LEFT - 6, y(level) + 4, figure(level), 'text-anchor="end"'))
    for mark in marks:
        drawn.append(f'<path d="M{x(mark):.1f} {_TOP + high}v4" stroke="{_INK}"/>')
        drawn.append(_text(x(mark), _TOP + high + 17, figure(mark), 'text-anchor="middle"'))
    drawn.append(f'<path d="M{_LEFT} {_TOP}v{high}h{wide}" fill="none" stroke="{_INK}"/>')
    if len(real) == 1:
        drawn.append(f'<circle cx="{x(steps[0]):.1f}" cy="{y(values[0]):.1f}" r="3" fill="{_LINE}"/>')
    else:
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in real)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.6"/>')
    return "".join(drawn)


def _step_ticks(first: int, last: int) -> list[int]:
    """Whole steps, the first and the last among them; no other so near to these that their numbers would meet."""
    if last - first <= 8:
        return list(range(first, last + 1))
    room = (last - first) / 8
    between = [int(step) for step in ticks(first, last) if step == int(step) and first + room < step < last - room]
    return sorted({first, *between, last})


def _steps_of(name: str) -> str:
    return "PPO iteration" if name.startswith("ppo/") else "optimizer step"


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'


def _data_url(picture: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
