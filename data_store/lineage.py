"""Where things come from, where they went, and what is out of date: the SQL over runs and their edges.

Ancestry is walked by the run that produced an input, never by the version alone: two runs can produce the same bytes,
and a walk by version would merge their histories. Where a run was taken up again on the same versions made by other
runs, it is these that are walked: its result follows from them as well.
"""

from collections.abc import Collection, Mapping

import duckdb

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import LineageEdge, LineageGraph
from data_store.runs import read_heads, read_runs, read_version

# Each round of a recursion reads all edges, so they are laid out once, narrow and without repetition.
_ANCESTORS = """
WITH RECURSIVE edge AS MATERIALIZED (
    SELECT DISTINCT run_id, producer_run_id FROM current_input WHERE producer_run_id IS NOT NULL
),
up (run_id) AS (
    SELECT unnest(?::TEXT[])
    UNION
    SELECT edge.producer_run_id FROM up JOIN edge ON edge.run_id = up.run_id
)
SELECT run_id FROM up
"""

_DESCENDANTS = """
WITH RECURSIVE edge AS MATERIALIZED (
    SELECT DISTINCT run_id, producer_run_id FROM current_input WHERE producer_run_id IS NOT NULL
),
down (run_id) AS (
    SELECT unnest(?::TEXT[])
    UNION
    SELECT edge.run_id FROM down JOIN edge ON edge.producer_run_id = down.run_id
)
SELECT run_id FROM down
"""

_EDGES = """
SELECT run_id, 'input' AS direction, role, asset_id, version_id, producer_run_id FROM current_input
WHERE run_id IN (SELECT unnest(?::TEXT[]))
UNION ALL
SELECT run_id, 'output', role, asset_id, version_id, NULL FROM run_output
WHERE run_id IN (SELECT unnest(?::TEXT[]))
ORDER BY run_id, direction, role, asset_id
"""

# A head is stale when the run behind it was changed by the caller's word, or read a version that is no longer the head
# of its asset, or read an asset that is itself stale. Versions are compared, not runs: redoing a step to identical
# bytes makes nothing stale. The nearest cause is named, so that the answer is the same each time.
_STALE = """
WITH RECURSIVE
used AS (
    SELECT current_head.asset_id, current_head.run_id, current_input.asset_id AS input_id,
        current_input.version_id = newest.version_id AS is_current
    FROM current_head
    JOIN current_input ON current_input.run_id = current_head.run_id
    JOIN current_head newest ON newest.asset_id = current_input.asset_id
),
direct (asset_id, cause, reason) AS (
    SELECT asset_id, 0, 'the step or its config changed' FROM current_head
    WHERE run_id IN (SELECT unnest(?::TEXT[]))
    UNION ALL
    SELECT asset_id, 1, 'a newer ' || input_id || ' is there' FROM used WHERE NOT is_current
),
stale (asset_id) AS (
    SELECT asset_id FROM direct
    UNION
    SELECT used.asset_id FROM stale JOIN used ON used.input_id = stale.asset_id
),
causes (asset_id, cause, reason) AS (
    SELECT asset_id, cause, reason FROM direct
    UNION ALL
    SELECT used.asset_id, 2, used.input_id || ' is stale' FROM stale JOIN used ON used.input_id = stale.asset_id
),
ranked AS (
    SELECT asset_id, reason, row_number() OVER (PARTITION BY asset_id ORDER BY cause, reason) AS place FROM causes
)
SELECT asset_id, reason FROM ranked WHERE place = 1 ORDER BY asset_id
"""


def ancestors(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that led to these runs, these included, and all that they read and wrote."""
    return _graph(connection, _ANCESTORS, roots)


def descendants(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that built on these runs, these included, and all that they read and wrote."""
    return _graph(connection, _DESCENDANTS, roots)


def makers(connection: duckdb.DuckDBPyConnection, of: AssetName | str) -> list[str]:
    """The runs that made an asset's head, or a version (by id): those of the heads that point to it, else all of them,
    newest first. None for an external source. Raises InputError for a name that is unknown.
    """
    if isinstance(of, AssetName):
        heads = read_heads(connection)
        if of not in heads:
            raise InputError(f"there is no asset {of}; `halter status` shows the assets there are")
        run_id = heads[of].run_id
        return [run_id] if run_id else []
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
        raise InputError(f"there is no version {version_id!r}; `halter status` shows the versions there are")


def stale(connection: duckdb.DuckDBPyConnection, changed_runs: Collection[str]) -> Mapping[AssetName, str]:
    """Stale heads with the reason, closed transitively over all iterations."""
    found = connection.execute(_STALE, [sorted(changed_runs)]).fetchall()
    return {AssetName.parse(asset): reason for asset, reason in found}


def _graph(connection: duckdb.DuckDBPyConnection, walk: str, roots: Collection[str]) -> LineageGraph:
    ids = [run_id for (run_id,) in connection.execute(walk, [list(roots)]).fetchall()]
    runs = read_runs(connection, "run.run_id IN (SELECT unnest(?::TEXT[]))", [ids])
    edges = tuple(
        LineageEdge(run_id, direction, role, AssetName.parse(asset), version, producer)
        for run_id, direction, role, asset, version, producer in connection.execute(_EDGES, [ids, ids]).fetchall()
    )
    return LineageGraph(tuple(roots), {summary.run.run_id: summary for summary in runs}, edges)
