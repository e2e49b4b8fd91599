"""What benchmarks come to: the one place where rows of results become figures."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.estimate import Estimate
from data_store.figures import figure, interval, marks, rate
from models.algorithms.contamination import moved_by_contamination, subset_scores
from models.algorithms.pass_at_k import pass_at_k
from tasks.estimates import mean_of_figures, of_subsets, score_of

Rows = Sequence[Mapping[str, Any]]
JUDGE = "the benchmark's answers"
_OF_CODE = "the benchmark's tests"
_CODE = ("humaneval", "mbpp")


def benchmark_set(benchmark: str) -> str:
    """The evaluation set that a benchmark is, beside those of the run's own prompts."""
    return f"benchmark/{benchmark}"


def figures_of(results: Rows, items: Rows, pass_at: Sequence[int]) -> dict[str, Estimate]:
    """Of each benchmark its accuracy (`NAME`), that by the length of the choices (`NAME/normalised`), or pass@k
    (`NAME/pass@K`); of each suite the mean of its benchmarks (`suite/NAME`), by their accuracy or pass at the first k.
    """
    forms = {(row["benchmark"], row["item_id"]): row["form"] for row in items}
    found: dict[str, Estimate] = {}
    suites: dict[str, list[Estimate]] = {}
    for name in dict.fromkeys(row["benchmark"] for row in results):
        mine = [row for row in results if row["benchmark"] == name]
        if forms[name, mine[0]["item_id"]] in _CODE:
            drawn = list(_by_item(mine).values())
            passed = {k: [pass_at_k(len(each), int(sum(each)), k) for each in drawn] for k in pass_at}
            own = {f"{name}/pass@{k}": score_of(scores, _OF_CODE) for k, scores in passed.items()}
        else:
            own = {name: score_of([row["score"] for row in mine], JUDGE)}
            normalised = [row["normalised_score"] for row in mine]
            own |= {f"{name}/normalised": score_of(normalised, JUDGE)} if None not in normalised else {}
        found |= own
        suites.setdefault(mine[0]["suite"], []).append(next(iter(own.values())))
    return found | {f"suite/{name}": mean_of_figures(of) for name, of in suites.items()}


def shown(figures: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """A line of a table for each."""
    lines = []
    for name, each in figures.items():
        bounds = "" if each.low is None or each.high is None else interval(each.low, each.high, rate)
        line = {"figure": name, "value": rate(each.value), "95 %": bounds, "n": each.n, "judge": each.judge or ""}
        lines.append({**line, "mark": ", ".join(marks(each.n, each.low))})
    return lines


def contamination_of(
    results: Rows, overlaps: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, float | Estimate], list[dict[str, Any]]]:
    """Metrics and a table: each benchmark's score on clean and on contaminated items (Llama 2, appendix A.6)."""
    shares = {(row["evaluation_set"], row["item_id"]): row["share"] for row in overlaps}
    metrics: dict[str, float | Estimate] = {}
    table: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["benchmark"] for row in results):
        mine = _by_item([row for row in results if row["benchmark"] == name])
        scored = {item: statistics.fmean(of) for item, of in mine.items() if (benchmark_set(name), item) in shares}
        subsets = subset_scores(list(scored.values()), [shares[benchmark_set(name), item] for item in scored])
        metrics |= of_subsets(subsets, name, JUDGE)
        matters = "yes" if moved_by_contamination(subsets) else "no"
        for each in subsets:
            line = {"benchmark": name, "items": each.name.replace("_", " "), "n": each.n}
            table.append({**line, "score": figure(each.mean), "Z": figure(each.z), "|Z| > 2 in all four": matters})
    return metrics, table


def _by_item(rows: Rows) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["item_id"], []).append(row["score"])
    return found
