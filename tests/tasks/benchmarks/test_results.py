"""Rows of results become figures, by hand."""

from typing import Any

import pytest

from models.algorithms.intervals import wilson
from tasks.benchmarks.results import benchmark_set, contamination_of, figures_of


def result(benchmark: str, item: str, score: float, **more: Any) -> dict[str, Any]:
    fields = {
        "benchmark": benchmark,
        "suite": "s",
        "item_id": item,
        "score": score,
        "draw": 0,
        "normalised_score": None,
    }
    return {**fields, **more}


def item(benchmark: str, name: str, form: str = "choice") -> dict[str, Any]:
    return {"benchmark": benchmark, "item_id": name, "form": form}


def test_accuracy_has_its_items_and_interval_and_a_suite_counts_each_benchmark_once() -> None:
    results = [result("a", str(n), float(n < 5), normalised_score=float(n < 2)) for n in range(10)]
    results += [result("b", str(n), 1.0) for n in range(2)]
    items = [item(row["benchmark"], row["item_id"]) for row in results]
    found = {each.name: each for each in figures_of(results, items, (1,))}
    assert set(found) == {"a", "a/normalised", "b", "suite/s"}
    assert (found["a"].value, found["a"].n, (found["a"].low, found["a"].high)) == (0.5, 10, wilson(5, 10))
    assert found["a/normalised"].value == 0.2
    assert (found["suite/s"].value, found["suite/s"].n) == (0.75, 12), "not 7/12: each benchmark counts once"
    assert found["suite/s"].low < 0.75 < found["suite/s"].high <= 1.0
    assert found["a"].shown() == {"figure": "a", "value": "0.50", "95 %": "[0.24, 0.76]", "n": 10}


def test_a_suite_of_one_benchmark_has_its_interval() -> None:
    results = [result("a", str(n), float(n < 5)) for n in range(10)]
    found = {each.name: each for each in figures_of(results, [item("a", str(n)) for n in range(10)], (1,))}
    assert (found["suite/s"].low, found["suite/s"].high) == wilson(5, 10)


def test_pass_at_k_is_over_tasks_and_draws() -> None:
    """One task with 2 of 5 right, one with none: pass@1 (2/5 + 0) / 2, pass@2 (7/10 + 0) / 2."""
    results = [result("c", "one", float(n < 2), draw=n) for n in range(5)]
    results += [result("c", "two", 0.0, draw=n) for n in range(5)]
    found = {each.name: each for each in figures_of(results, [item("c", n, "mbpp") for n in ("one", "two")], (1, 2))}
    assert found["c/pass@1"].value == pytest.approx(0.2)
    assert found["c/pass@2"].value == pytest.approx(0.35)
    assert found["c/pass@1"].n == 2, "programs for one task are not independent"
    assert found["suite/s"].value == pytest.approx(0.2)


def test_scores_of_clean_and_contaminated_items_and_whether_it_matters() -> None:
    """100 contaminated items right, 100 clean ones wrong: Z is ±10 in every subset."""
    results = [result("a", str(n), float(n < 100)) for n in range(200)] + [result("b", "0", 1.0)]
    overlaps = [
        {"evaluation_set": benchmark_set("a"), "item_id": str(n), "share": 0.9 if n < 100 else 0.0} for n in range(200)
    ]
    metrics, table = contamination_of(
        results, [*overlaps, {"evaluation_set": "prompts/safety", "item_id": "0", "share": 1.0}]
    )
    assert (metrics["a/clean/n"], metrics["a/clean/score"], metrics["a/dirty/score"]) == (100, 0.0, 1.0)
    assert metrics["a/clean/z"] == pytest.approx(-10)
    assert metrics["a/dirty/z"] == pytest.approx(10)
    assert {line["|Z| > 2 in all four"] for line in table if line["benchmark"] == "a"} == {"yes"}
    assert {line["|Z| > 2 in all four"] for line in table if line["benchmark"] == "b"} == {"no"}
    assert metrics["b/clean/n"] == 0, "an item that was not looked at is in no subset"
