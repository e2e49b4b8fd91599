"""Where things come from, where they went, and what is out of date: the SQL over runs and their edges.

Ancestry is walked by the run that produced an input, never by the version alone: two runs can produce the same bytes,
and a walk by version would merge their histories. Where a run was taken up again on the same versions made by other
runs, it is these that are walked: its result follows from them as well.
"""

from collections.abc import Collection, Mapping

import duckdb
import numpy as np

from data_store.catalog.runs import read_edges, read_head, read_runs, read_version
from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from data_store.links import Links, first_source
from data_store.names import AssetName
from data_store.records import LineageGraph
from data_store.results import arrow_table

CHANGED = "the step or its config changed"
_PRODUCED = "SELECT run_id, producer_run_id FROM current_input WHERE producer_run_id IS NOT NULL"

_HEADS = "SELECT asset_id, run_id FROM current_head ORDER BY asset_id"
# What the run behind each head read, and whether that is still the head of its asset; heads by their place in _HEADS.
_USED = """
WITH numbered AS (
    SELECT asset_id, version_id, run_id, row_number() OVER (ORDER BY asset_id) - 1 AS number FROM current_head)
SELECT head.number AS head, newest.number AS source, current_input.version_id = newest.version_id AS is_current
FROM numbered head
JOIN current_input ON current_input.run_id = head.run_id
JOIN numbered newest ON newest.asset_id = current_input.asset_id
"""


def ancestors(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that led to these runs, these included, and all that they read and wrote."""
    return _graph(connection, roots, ancestor_ids(connection, roots))


def ancestor_ids(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> list[str]:
    """The ids of the runs that led to these runs, these included."""
    produced = arrow_table(connection, _PRODUCED)
    return Links.between(produced["run_id"], produced["producer_run_id"]).reached(roots)


def descendants(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that built on these runs, these included, and all that they read and wrote."""
    produced = arrow_table(connection, _PRODUCED)
    return _graph(connection, roots, Links.between(produced["producer_run_id"], produced["run_id"]).reached(roots))


def makers(connection: duckdb.DuckDBPyConnection, of: AssetName | str) -> list[str]:
    """The runs that made an asset's head, or a version (by id): those of the heads that point to it, else all of them,
    newest first. None for an external source. Raises InputError for a name that is unknown.
    """
    if isinstance(of, AssetName):
        head = read_head(connection, of)
        if head is None:
            known = [name for (name,) in connection.execute("SELECT asset_id FROM current_head ORDER BY 1").fetchall()]
            near = did_you_mean(str(of), known)
            raise InputError(f"there is no asset {of}; `{halter('status')}` shows the assets there are{near}")
        return [head.run_id] if head.run_id else []
    _require_version(connection, of)
    pointing = "SELECT DISTINCT run_id FROM current_head WHERE version_id = ? AND run_id IS NOT NULL ORDER BY run_id"
    wrote = """
        SELECT run_output.run_id FROM run_output JOIN run_state ON run_state.run_id = run_output.run_id
        WHERE run_output.version_id = ? ORDER BY run_state.seq DESC"""
    for sql in (pointing, wrote):
        if found := connection.execute(sql, [of]).fetchall():
            return [str(run_id) for (run_id,) in found]
    return []


def users(connection: duckdb.DuckDBPyConnection, of: AssetName | str) -> list[str]:
    """The runs that read an asset (in any of its versions) or a version (under any name).

    Raises InputError for a name that is unknown.
    """
    if isinstance(of, AssetName):
        makers(connection, of)
        sql = "SELECT DISTINCT run_id FROM current_input WHERE asset_id = ? ORDER BY run_id"
    else:
        _require_version(connection, of)
        sql = "SELECT DISTINCT run_id FROM current_input WHERE version_id = ? ORDER BY run_id"
    return [str(run_id) for (run_id,) in connection.execute(sql, [str(of)]).fetchall()]


def _require_version(connection: duckdb.DuckDBPyConnection, version_id: str) -> None:
    if read_version(connection, version_id) is None:
        raise InputError(f"there is no version {version_id!r}; `{halter('status')}` shows the versions there are")


def stale(
    connection: duckdb.DuckDBPyConnection, changed_runs: Collection[str], looked_at: Collection[AssetName] = ()
) -> Mapping[AssetName, str]:
    """Stale heads with the reason, closed transitively over all iterations.

    A head is stale when the run behind it was changed by the caller's word, or read a version that is no longer the
    head of its asset, or read an asset that is itself stale. Versions are compared, not runs: redoing a step to
    identical bytes makes nothing stale. The nearest cause is named, so that the answer is the same each time. Assets
    in `looked_at` make nothing stale by their heads: the caller knows better.
    """
    heads = arrow_table(connection, _HEADS)
    # As arrays from DuckDB itself: pyarrow imports pandas to make one, which takes ten times as long as all of this.
    used = connection.execute(_USED).fetchnumpy()
    names, run_ids = heads["asset_id"].to_pylist(), set(changed_runs)
    head, source = used["head"].astype(np.int64), used["source"].astype(np.int64)
    known = set(map(str, looked_at))
    older = ~used["is_current"].astype(np.bool_) & ~np.array([name in known for name in names], np.bool_)[source]
    changed = np.array([run_id in run_ids for run_id in heads["run_id"].to_pylist()], np.bool_)
    newer = first_source(len(names), source[older], head[older])
    roots = np.flatnonzero(changed | (newer < len(names)))
    if not len(roots):
        return {}
    after = Links(heads["asset_id"], source, head).first_sources(roots)
    reasons: dict[AssetName, str] = {}
    for name, was_changed, read, reached in zip(names, changed.tolist(), newer.tolist(), after.tolist(), strict=True):
        if was_changed:
            reasons[AssetName.parse(name)] = CHANGED
        elif read < len(names):
            reasons[AssetName.parse(name)] = f"a newer {names[read]} is there"
        elif reached < len(names):
            reasons[AssetName.parse(name)] = f"{names[reached]} is stale"
    return reasons


def _graph(connection: duckdb.DuckDBPyConnection, roots: Collection[str], ids: list[str]) -> LineageGraph:
    runs = read_runs(connection, "run.run_id IN (SELECT unnest(?::TEXT[]))", [ids])
    edges = read_edges(connection, ids)
    return LineageGraph(tuple(roots), {summary.run.run_id: summary for summary in runs}, edges)
