"""What a run measured, as the events of a journal say it and as rows of the catalog.

Numbers are text, because JSON has no NaN and no infinity, and a run with such a number must be committed all the same.
The estimates stand beside the metrics, so that an older halter reads these and passes those by.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data_store.records import Metric


def facts_of_metrics(metrics: Iterable[Metric]) -> dict[str, Any]:
    """The keys `metrics` ([name, step, value]) and, where there are any, `estimates` ([name, n, low, high, judge])."""
    given = list(metrics)
    estimates = [[m.name, m.n, _written(m.low), _written(m.high), m.judge] for m in given if m.n is not None]
    numbers = [[m.name, m.step, _written(m.value)] for m in given]
    return {"metrics": numbers, **({"estimates": estimates} if estimates else {})}


def rows_of_metrics(run_id: str, said: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(table, row) of what an event says that a run measured; journals of before it was kept have no estimates."""
    for name, step, value in said["metrics"]:
        yield "metric", (run_id, name, step, float(value))
    for name, n, low, high, judge in said.get("estimates", ()):
        yield "estimate", (run_id, name, n, _read(low), _read(high), judge)


def _written(value: float | None) -> str | None:
    return None if value is None else repr(float(value))


def _read(text: str | None) -> float | None:
    return None if text is None else float(text)
