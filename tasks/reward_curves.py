"""Max and median reward against the number of samples, by temperature (Llama 2, figures 7 and 8)."""

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from data_store.estimate import Estimate
from data_store.figures import figure
from tasks.estimates import mean_of

Statistic = Literal["max", "median"]
JUDGE = "reward models"
_NAME = re.compile(r"(?P<prefix>.+)/(?P<statistic>max|median)/T(?P<temperature>all|[0-9.]+)/N(?P<samples>[0-9]+)")


@dataclass(frozen=True)
class CurvePoint:
    """Of `samples` answers to each prompt the highest and the middle reward, prompt by prompt. `temperature` is None
    where those of all temperatures count."""

    temperature: float | None
    samples: int
    highest: tuple[float, ...]
    middle: tuple[float, ...]

    def estimate(self, statistic: Statistic) -> Estimate:
        """Its mean over prompts."""
        return mean_of(self.highest if statistic == "max" else self.middle, JUDGE)

    @property
    def spread(self) -> Estimate:
        """How far the highest is above the middle, mean over prompts."""
        return mean_of([a - b for a, b in zip(self.highest, self.middle, strict=True)], JUDGE)


def reward_curves(
    rows: Iterable[Mapping[str, Any]], rewards: Iterable[float], temperatures: Sequence[float]
) -> list[CurvePoint]:
    """Max and median of the first N responses, cut ones too, for N = 1, 2, 4 … and all of them. `rows` of kind
    response, with their combined rewards.

    Of several temperatures together these take turns, so that no small N stands for one of them alone.
    """
    turns: dict[tuple[str, int], int] = {}
    placed = []
    for row, reward in zip(rows, rewards, strict=True):
        key = (row["prompt_id"], row["temperature_milli"])
        turns[key] = turns.get(key, -1) + 1
        placed.append((turns[key], row, reward))
    placed.sort(key=lambda each: each[0])
    points = []
    for temperature in (None, *temperatures) if len(temperatures) > 1 else temperatures:
        groups: dict[str, list[float]] = {}
        for _, row, reward in placed:
            if temperature is None or row["temperature_milli"] == round(1000 * temperature):
                groups.setdefault(row["prompt_id"], []).append(reward)
        most = min(map(len, groups.values()))
        for n in sizes_up_to(most):
            firsts = [values[:n] for values in groups.values()]
            points.append(CurvePoint(temperature, n, tuple(map(max, firsts)), tuple(map(statistics.median, firsts))))
    return points


def sizes_up_to(samples: int) -> list[int]:
    """The N of a curve: 1, 2, 4 … and all samples."""
    return sorted({2**k for k in range(samples.bit_length())} | {samples})


def names_of(prefix: str, temperatures: Sequence[float], samples: int) -> Iterator[str]:
    """The metrics of the curves of `samples` answers at each temperature."""
    together = {"all": samples * len(temperatures)} if len(temperatures) > 1 else {}
    for temperature, most in {**together, **{_named(each): samples for each in temperatures}}.items():
        for n in sizes_up_to(most):
            yield from (f"{prefix}/{statistic}/T{temperature}/N{n}" for statistic in get_args(Statistic))


def _named(temperature: float) -> str:
    """As it stands in names of metrics: 0.7, 1."""
    return str(temperature).removesuffix(".0")


def metrics_of(points: Iterable[CurvePoint], prefix: str) -> dict[str, Estimate]:
    """`PREFIX/max/T0.7/N4` and `PREFIX/median/…`, of all temperatures `Tall`."""
    return {
        f"{prefix}/{name}/T{'all' if point.temperature is None else _named(point.temperature)}/N{point.samples}": (
            point.estimate(name)
        )
        for point in points
        for name in get_args(Statistic)
    }


def place_of(metric: str) -> tuple[str, str, str, int] | None:
    """(prefix, statistic, temperature, N) of such a metric's name; None of another's."""
    found = _NAME.fullmatch(metric)
    return found and (found["prefix"], found["statistic"], found["temperature"], int(found["samples"]))


def table_of(points: Iterable[CurvePoint]) -> list[dict[str, Any]]:
    """The same for people."""
    table = []
    for point in points:
        most, middle = point.estimate("max"), point.estimate("median")
        temperature = "all" if point.temperature is None else figure(point.temperature)
        row = {"temperature": temperature, "samples": point.samples, "max": most.value, "from": most.low}
        table.append({**row, "to": most.high, "median": middle.value, "prompts": most.n, "judge": JUDGE})
    return table
