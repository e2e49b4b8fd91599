"""All that the catalog holds of runs, read at once and without a value that is bound: at the first one DuckDB imports
pandas, which takes longer than all of this."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import duckdb

from data_store.catalog.runs import read_heads, read_runs
from data_store.names import AssetName
from data_store.records import Head, LineageEdge, RunSummary

_READ = "SELECT run_id, role, asset_id, version_id, producer_run_id FROM current_input ORDER BY run_id, role, asset_id"
_MADE = "SELECT run_id, role, asset_id, version_id, NULL FROM run_output ORDER BY run_id, role"
_VERSIONS = """
SELECT version.version_id, version.row_kind, version.n_rows, version.bytes, coalesce(gone.is_removed, FALSE)
FROM version LEFT JOIN (SELECT version_id, bool_or(is_retired) AS is_removed FROM current_object GROUP BY version_id)
    gone ON gone.version_id = version.version_id
"""
_MEASURED = """
SELECT metric.run_id, metric.name, metric.value, estimate.n, estimate.low, estimate.high, estimate.judge
FROM metric JOIN (SELECT run_id, name, max(step) AS step FROM metric GROUP BY run_id, name) newest
    ON metric.run_id = newest.run_id AND metric.name = newest.name AND metric.step = newest.step
LEFT JOIN estimate ON estimate.run_id = metric.run_id AND estimate.name = metric.name AND metric.step = 0
ORDER BY metric.run_id, metric.name
"""
_CURVES = """
SELECT run_id, name, step, value FROM metric
WHERE (run_id, name) IN (SELECT (run_id, name) FROM metric GROUP BY run_id, name HAVING count(*) > 1)
ORDER BY run_id, name, step
"""
_OBJECTS = "SELECT count(*), coalesce(sum(bytes), 0) FROM (SELECT DISTINCT sha256, bytes FROM current_object WHERE \
role <> 'external' AND NOT is_retired)"


@dataclass(frozen=True)
class Measured:
    """The last value of one metric of a run; the rest as an `Estimate` has it, None where it is none."""

    run_id: str
    name: str
    value: float
    n: int | None = None
    low: float | None = None
    high: float | None = None
    judge: str | None = None


@dataclass(frozen=True)
class Size:
    """What a version holds: rows of which kind and how many (None for files), and its bytes. is_removed: its content is
    gone."""

    row_kind: str | None
    rows: int | None
    bytes: int
    is_removed: bool


@dataclass(frozen=True)
class WholeCatalog:
    """Heads; runs by id, newest first; what each read and made; versions; the last value of each metric, by run and
    name; how many objects the store holds, and their bytes."""

    heads: Mapping[AssetName, Head]
    runs: Mapping[str, RunSummary]
    reads: Mapping[str, tuple[LineageEdge, ...]]
    makes: Mapping[str, tuple[LineageEdge, ...]]
    versions: Mapping[str, Size]
    measured: Mapping[str, Mapping[str, Measured]]
    objects: tuple[int, int]

    def read_as(self, run_id: str, role: str) -> tuple[LineageEdge, ...]:
        """What a run read in one role."""
        return tuple(edge for edge in self.reads.get(run_id, ()) if edge.role == role)

    def made_as(self, run_id: str, role: str) -> LineageEdge | None:
        """What a run made in one role."""
        return next((edge for edge in self.makes.get(run_id, ()) if edge.role == role), None)

    @cached_property
    def readers(self) -> Mapping[tuple[str, str | None], tuple[str, ...]]:
        """(version, the run that made it) → the runs that read it, newest first."""
        found: dict[tuple[str, str | None], list[str]] = {}
        for run_id in self.runs:
            for edge in self.reads.get(run_id, ()):
                found.setdefault((edge.version_id, edge.producer_run_id), []).append(run_id)
        return {key: tuple(dict.fromkeys(ids)) for key, ids in found.items()}


def read_whole(connection: duckdb.DuckDBPyConnection) -> WholeCatalog:
    """All of it, of the state that the connection reads."""
    versions = {row[0]: Size(*row[1:]) for row in connection.execute(_VERSIONS).fetchall()}
    ((count, size),) = connection.execute(_OBJECTS).fetchall()
    return WholeCatalog(
        heads=read_heads(connection),
        runs={summary.run.run_id: summary for summary in read_runs(connection, "TRUE", [])},
        reads=_edges(connection, _READ, "input"),
        makes=_edges(connection, _MADE, "output"),
        versions=versions,
        measured=_measured(connection),
        objects=(int(count), int(size)),
    )


def read_curves(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, int, float]]]:
    """Run → (name, training step, value) of the metrics that it reported more than once."""
    curves: dict[str, list[tuple[str, int, float]]] = {}
    for run_id, *point in connection.execute(_CURVES).fetchall():
        curves.setdefault(run_id, []).append((point[0], point[1], point[2]))
    return curves


def _edges(connection: duckdb.DuckDBPyConnection, sql: str, direction: str) -> dict[str, tuple[LineageEdge, ...]]:
    found: dict[str, list[LineageEdge]] = {}
    names: dict[str, AssetName] = {}
    for run_id, role, asset, version, producer in connection.execute(sql).fetchall():
        name = names.setdefault(asset, AssetName.parse(asset))
        found.setdefault(run_id, []).append(LineageEdge(run_id, direction, role, name, version, producer))  # type: ignore[arg-type]
    return {run_id: tuple(edges) for run_id, edges in found.items()}


def _measured(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Measured]]:
    found: dict[str, dict[str, Measured]] = {}
    for run_id, name, *values in connection.execute(_MEASURED).fetchall():
        found.setdefault(run_id, {})[name] = Measured(run_id, name, *values)
    return found
