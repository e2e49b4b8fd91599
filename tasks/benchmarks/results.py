"""What benchmarks come to: the one place where rows of results become figures."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_store.figures import figure, rate
from models.algorithms.contamination import moved_by_contamination, subset_scores
from models.algorithms.intervals import mean_interval
from models.algorithms.pass_at_k import pass_at_k

Rows = Sequence[Mapping[str, Any]]
_CODE = ("humaneval", "mbpp")
_Z = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Figure:
    """A mean over `n` items, with its 95 % interval."""

    name: str
    value: float
    n: int
    low: float
    high: float

    def shown(self) -> dict[str, Any]:
        """A line of a table."""
        interval = f"[{rate(self.low)}, {rate(self.high)}]"
        return {"figure": self.name, "value": rate(self.value), "95 %": interval, "n": self.n}


def benchmark_set(benchmark: str) -> str:
    """The evaluation set that a benchmark is, beside those of the run's own prompts."""
    return f"benchmark/{benchmark}"


def figures_of(results: Rows, items: Rows, pass_at: Sequence[int]) -> list[Figure]:
    """Of each benchmark its accuracy (`NAME`), that by the length of the choices (`NAME/normalised`), or pass@k
    (`NAME/pass@K`); of each suite the mean of its benchmarks (`suite/NAME`), by their accuracy or pass at the first k.
    """
    forms = {(row["benchmark"], row["item_id"]): row["form"] for row in items}
    found: list[Figure] = []
    suites: dict[str, list[Figure]] = {}
    for name in dict.fromkeys(row["benchmark"] for row in results):
        mine = [row for row in results if row["benchmark"] == name]
        if forms[name, mine[0]["item_id"]] in _CODE:
            drawn = list(_by_item(mine).values())
            own = [
                _mean(f"{name}/pass@{k}", [pass_at_k(len(each), int(sum(each)), k) for each in drawn]) for k in pass_at
            ]
        else:
            own = [_mean(name, [row["score"] for row in mine])]
            normalised = [row["normalised_score"] for row in mine]
            own += [_mean(f"{name}/normalised", normalised)] if None not in normalised else []
        found += own
        suites.setdefault(mine[0]["suite"], []).append(own[0])
    return [*found, *(_joined(f"suite/{name}", of) for name, of in suites.items())]


def contamination_of(
    results: Rows, overlaps: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics and a table: each benchmark's score on clean and on contaminated items (Llama 2, appendix A.6)."""
    shares = {(row["evaluation_set"], row["item_id"]): row["share"] for row in overlaps}
    metrics: dict[str, float] = {}
    table: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["benchmark"] for row in results):
        scored = {
            item: statistics.fmean(of) for item, of in _by_item([r for r in results if r["benchmark"] == name]).items()
        }
        known = [item for item in scored if (benchmark_set(name), item) in shares]
        subsets = subset_scores([scored[item] for item in known], [shares[benchmark_set(name), item] for item in known])
        matters = "yes" if moved_by_contamination(subsets) else "no"
        for each in subsets:
            measured = {"n": float(each.n), "score": each.mean, "z": each.z}
            metrics |= {f"{name}/{each.name}/{what}": value for what, value in measured.items() if value is not None}
            line = {"benchmark": name, "items": each.name.replace("_", " "), "n": each.n}
            table.append({**line, "score": figure(each.mean), "Z": figure(each.z), "|Z| > 2 in all four": matters})
    return metrics, table


def _by_item(rows: Rows) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["item_id"], []).append(row["score"])
    return found


def _mean(name: str, values: Sequence[float]) -> Figure:
    return Figure(name, statistics.fmean(values), len(values), *mean_interval(values))


def _joined(name: str, figures: Sequence[Figure]) -> Figure:
    """The mean of several benchmarks, each counted once; their standard errors are those of their intervals."""
    value = statistics.fmean(each.value for each in figures)
    if len(figures) == 1:
        return Figure(name, value, figures[0].n, figures[0].low, figures[0].high)
    errors = ((each.high - each.low) / (2 * _Z) for each in figures)
    half = _Z * math.sqrt(math.fsum(error**2 for error in errors)) / len(figures)
    return Figure(name, value, sum(each.n for each in figures), max(0.0, value - half), min(1.0, value + half))
