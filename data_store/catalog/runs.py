"""Reading runs, heads, versions and metrics out of the catalog."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb

from data_store.catalog.origins import COLUMNS
from data_store.estimate import Estimate
from data_store.names import AssetName
from data_store.records import (
    FinishedRun,
    Head,
    LineageEdge,
    Metric,
    ObjectRef,
    Override,
    RunInput,
    RunRecord,
    RunSummary,
    VersionInfo,
    Withdrawal,
)
from data_store.results import arrow_table, first_row

_RUNS = """
SELECT run.run_id, run.step, run.part, run.attempt, run.fingerprint, run.code_version, run.git_commit, run.git_dirty,
    run.config, run.seed, run.env, run.prefect_flow_run_id, run.prefect_task_run_id, run.prefect_root_flow_run_id,
    run.host, run.started_at, run_state.state, run_state.ts, run_state.detail,
    run_state.seq
FROM run JOIN run_state ON run_state.run_id = run.run_id
WHERE {condition}
ORDER BY (SELECT min(seq) FROM run_event WHERE run_event.run_id = run.run_id) DESC
"""

_EDGES = """
SELECT run_id, 'input' AS direction, role, asset_id, version_id, producer_run_id FROM current_input
WHERE run_id IN (SELECT unnest(?::TEXT[]))
UNION ALL
SELECT run_id, 'output', role, asset_id, version_id, NULL FROM run_output
WHERE run_id IN (SELECT unnest(?::TEXT[]))
ORDER BY run_id, direction, role, asset_id
"""

# The condition is asked again in the place of a list of ids: at the first value that is bound, DuckDB imports pandas.
_CODE = """
SELECT run_id, path, sha256 FROM run_code
WHERE run_id IN (SELECT run.run_id FROM run JOIN run_state ON run_state.run_id = run.run_id WHERE {condition})
ORDER BY path
"""
_LAST_METRICS = """
SELECT run_id, name, value FROM last_metric
WHERE run_id IN (SELECT run.run_id FROM run JOIN run_state ON run_state.run_id = run.run_id WHERE {condition})
ORDER BY name
"""
_ESTIMATES = """
SELECT metric.run_id, metric.name, metric.value, estimate.n, estimate.low, estimate.high, estimate.judge
FROM estimate JOIN metric ON metric.run_id = estimate.run_id AND metric.name = estimate.name AND metric.step = 0
WHERE metric.run_id IN (SELECT run.run_id FROM run JOIN run_state ON run_state.run_id = run.run_id WHERE {condition})
ORDER BY metric.name
"""


def utc(moment: datetime) -> datetime:
    """The catalog keeps UTC without a zone; people get it with one."""
    return moment.replace(tzinfo=UTC)


def read_runs(connection: duckdb.DuckDBPyConnection, condition: str, parameters: Sequence[Any]) -> list[RunSummary]:
    """Runs that meet a condition of our own making over run and run_state, newest first: by their place in the journal,
    because a clock can be set back."""
    found = connection.execute(_RUNS.format(condition=condition), list(parameters)).fetchall()
    if not found:
        return []
    code: dict[str, dict[str, str]] = {}
    for run_id, path, sha256 in connection.execute(_CODE.format(condition=condition), list(parameters)).fetchall():
        code.setdefault(run_id, {})[path] = sha256
    metrics: dict[str, dict[str, float]] = {}
    for run_id, name, value in connection.execute(
        _LAST_METRICS.format(condition=condition), list(parameters)
    ).fetchall():
        metrics.setdefault(run_id, {})[name] = value
    estimates: dict[str, dict[str, Estimate]] = {}
    for run_id, name, *values in connection.execute(
        _ESTIMATES.format(condition=condition), list(parameters)
    ).fetchall():
        estimates.setdefault(run_id, {})[name] = Estimate(*values)
    return [_summary(row, code.get(row[0], {}), metrics.get(row[0], {}), estimates.get(row[0], {})) for row in found]


def _summary(
    row: tuple[Any, ...], code: dict[str, str], metrics: dict[str, float], estimates: dict[str, Estimate]
) -> RunSummary:
    run_id, step, part, attempt, fingerprint, code_version, git_commit, git_dirty, config, seed, env, *rest = row
    flow_run, task_run, root_flow_run, host, started_at, state, ts, detail, seq = rest
    record = RunRecord(
        step=step,
        part=part,
        fingerprint=fingerprint,
        code_version=code_version,
        config=json.loads(config),
        seed=seed,
        run_id=run_id,
        attempt=attempt,
        git_commit=git_commit,
        git_dirty=git_dirty,
        code_files=code,
        env=json.loads(env),
        prefect_flow_run_id=flow_run,
        prefect_task_run_id=task_run,
        prefect_root_flow_run_id=root_flow_run,
        host=host,
        started_at=utc(started_at),
    )
    finished_at = None if state == "running" else utc(ts)
    seconds = None if finished_at is None else (finished_at - record.started_at).total_seconds()
    return RunSummary(record, state, detail, seq, finished_at, seconds, metrics, estimates)


def read_edges(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> tuple[LineageEdge, ...]:
    """What these runs read and wrote, by run."""
    ids = list(run_ids)
    found = arrow_table(connection, _EDGES, [ids, ids])
    columns = [column.to_pylist() for column in found.columns]
    assets = {text: AssetName.parse(text) for text in set(columns[3])}
    columns[3] = [assets[text] for text in columns[3]]
    return tuple(map(LineageEdge._make, zip(*columns, strict=True)))


def read_heads(connection: duckdb.DuckDBPyConnection) -> dict[AssetName, Head]:
    """Every asset's head."""
    sql = "SELECT asset_id, version_id, run_id, seq, ts, reason FROM current_head ORDER BY asset_id"
    heads = [_head(row) for row in connection.execute(sql).fetchall()]
    return {head.asset: head for head in heads}


def read_head(connection: duckdb.DuckDBPyConnection, asset: AssetName) -> Head | None:
    """One asset's head, without a look at the others."""
    sql = """
        SELECT asset_id, version_id, run_id, seq, ts, reason FROM head WHERE asset_id = ? ORDER BY seq DESC LIMIT 1"""
    found = first_row(connection, sql, [str(asset)])
    return None if found is None else _head(found)


def read_history(connection: duckdb.DuckDBPyConnection, asset: AssetName) -> list[Head]:
    """All heads that an asset ever had, newest first."""
    sql = "SELECT asset_id, version_id, run_id, seq, ts, reason FROM head WHERE asset_id = ? ORDER BY seq DESC"
    return [_head(row) for row in connection.execute(sql, [str(asset)]).fetchall()]


def _head(row: tuple[Any, ...]) -> Head:
    asset, version_id, run_id, seq, ts, reason = row
    return Head(AssetName.parse(asset), version_id, run_id, seq, utc(ts), reason)


def read_version(connection: duckdb.DuckDBPyConnection, version_id: str) -> VersionInfo | None:
    """What the catalog knows of a version, or None."""
    sql = """
        SELECT version_id, kind, row_kind, set_hash, schema_hash, n_rows, bytes, parent_id, created_at FROM version
        WHERE version_id = ?"""
    found = first_row(connection, sql, [version_id])
    if found is None:
        return None
    parts = "SELECT path, sha256, bytes, role FROM current_object WHERE version_id = ? ORDER BY path"
    refs = tuple(ObjectRef(*row) for row in connection.execute(parts, [version_id]).fetchall())
    identity, kind, row_kind, set_hash, schema_hash, n_rows, size, parent, created_at = found
    return VersionInfo(identity, kind, row_kind, set_hash, schema_hash, n_rows, size, parent, utc(created_at), refs)


def read_finished(
    connection: duckdb.DuckDBPyConnection, fingerprint: str, is_there: Callable[[str], bool]
) -> FinishedRun | None:
    """The newest succeeded run with this fingerprint whose output objects are all there (`is_there`, by sha256)."""
    found = read_runs(connection, "run.fingerprint = ? AND run_state.state = 'succeeded'", [fingerprint])
    outputs = "SELECT role, asset_id, version_id FROM run_output WHERE run_id = ? ORDER BY role"
    content = """
        SELECT current_object.sha256 FROM run_output JOIN current_object USING (version_id)
        WHERE run_output.run_id = ?"""
    for summary in sorted(found, key=lambda summary: summary.seq, reverse=True):
        run_id = summary.run.run_id
        objects = connection.execute(content, [run_id]).fetchall()
        if summary.finished_at and all(is_there(sha256) for (sha256,) in objects):
            made = connection.execute(outputs, [run_id]).fetchall()
            by_role = {role: (AssetName.parse(asset), version) for role, asset, version in made}
            return FinishedRun(run_id, by_role, read_metrics(connection, run_id), summary.finished_at)
    return None


def read_metrics(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[Metric]:
    """Every number that a run reported, by name and step."""
    sql = """
        SELECT metric.name, metric.value, metric.step, estimate.n, estimate.low, estimate.high, estimate.judge
        FROM metric LEFT JOIN estimate
            ON estimate.run_id = metric.run_id AND estimate.name = metric.name AND metric.step = 0
        WHERE metric.run_id = ? ORDER BY metric.name, metric.step"""
    return [Metric(*row) for row in connection.execute(sql, [run_id]).fetchall()]


def read_overrides(connection: duckdb.DuckDBPyConnection) -> list[Override]:
    """The config values set by hand that hold today."""
    sql = "SELECT part, step, name, value_json, ts FROM current_override ORDER BY part, step, name"
    found = connection.execute(sql).fetchall()
    return [Override(part, step, key, value, utc(ts)) for part, step, key, value, ts in found]


def read_inputs(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[RunInput]:
    """What a run reads, by its newest word."""
    sql = "SELECT role, asset_id, version_id, producer_run_id FROM current_input WHERE run_id = ?"
    found = connection.execute(sql, [run_id]).fetchall()
    return [RunInput(role, AssetName.parse(asset), version, producer) for role, asset, version, producer in found]


def read_withdrawals(connection: duckdb.DuckDBPyConnection) -> list[Withdrawal]:
    """The withdrawals in force, oldest first."""
    sql = "SELECT what, name, reason, ts, seq FROM current_withdrawal ORDER BY seq"
    found = connection.execute(sql).fetchall()
    return [Withdrawal(what, name, reason, utc(ts), seq) for what, name, reason, ts, seq in found]


def read_origins(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, str]]:
    """(asset, version) of a source → where it came from when it was last registered: the facts that are known, and
    `location`, the sentence."""
    names = ("location", *COLUMNS)
    sql = f"""SELECT asset_id, version_id, {", ".join(names)} FROM source LEFT JOIN origin ON origin.seq = source.seq
ORDER BY source.seq"""  # noqa: S608  (our own names)
    found = connection.execute(sql).fetchall()
    return {
        (asset, version): {name: value for name, value in zip(names, facts, strict=True) if value is not None}
        for asset, version, *facts in found
    }
