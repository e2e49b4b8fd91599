"""Rows of results become figures, by hand."""

from typing import Any

import pytest

from data_store.estimate import Estimate
from models.algorithms.intervals import wilson_interval
from tasks.benchmarks.results import JUDGE, benchmark_set, contamination_of, figures_of, shown


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
    found = figures_of(results, items, (1,))
    assert set(found) == {"a", "a/normalised", "b", "suite/s"}
    assert found["a"] == Estimate(0.5, 10, *wilson_interval(5, 10), JUDGE)
    assert found["a/normalised"].value == 0.2
    assert (found["suite/s"].value, found["suite/s"].n) == (0.75, 12), "not 7/12: each benchmark counts once"
    # half of sqrt((.5 - .2366)² + (1 - .3424)²) below, and of .7634 - .5 above
    assert (found["suite/s"].low, found["suite/s"].high) == pytest.approx((0.3958, 0.8817), abs=1e-4)
    line = {"figure": "a", "value": "0.50", "95 %": ".24–.76", "n": 10, "judge": JUDGE, "mark": "few"}
    assert shown(found)[0] == line


def test_a_suite_of_one_benchmark_has_its_interval() -> None:
    results = [result("a", str(n), float(n < 5)) for n in range(10)]
    found = figures_of(results, [item("a", str(n)) for n in range(10)], (1,))
    assert (found["suite/s"].low, found["suite/s"].high) == pytest.approx(wilson_interval(5, 10))


def test_pass_at_k_is_over_tasks_and_draws() -> None:
    """One task with 2 of 5 right, one with none: pass@1 (2/5 + 0) / 2, pass@2 (7/10 + 0) / 2."""
    results = [result("c", "one", float(n < 2), draw=n) for n in range(5)]
    results += [result("c", "two", 0.0, draw=n) for n in range(5)]
    found = figures_of(results, [item("c", n, "mbpp") for n in ("one", "two")], (1, 2))
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
    assert metrics["a/clean/score"] == Estimate(0.0, 100, *wilson_interval(0, 100), JUDGE)
    assert metrics["a/dirty/score"] == Estimate(1.0, 100, *wilson_interval(100, 100), JUDGE)
    assert metrics["a/clean/z"] == pytest.approx(-10)
    assert metrics["a/dirty/z"] == pytest.approx(10)
    assert {line["|Z| > 2 in all four"] for line in table if line["benchmark"] == "a"} == {"yes"}
    assert {line["|Z| > 2 in all four"] for line in table if line["benchmark"] == "b"} == {"no"}
    assert not [name for name in metrics if name.startswith("b/")], "an item that was not looked at is in no subset"
