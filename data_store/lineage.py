"""Where things come from, where they went, and what is out of date: the SQL over runs and their edges.

Ancestry is walked by the run that produced an input, never by the version alone: two runs can produce the same bytes,
and a walk by version would merge their histories. Where a run was taken up again on the same versions made by other
runs, it is these that are walked: its result follows from them as well.
"""

from collections.abc import Collection, Mapping

import duckdb
import pyarrow.compute as pc

from data_store.errors import InputError
from data_store.links import Links
from data_store.names import AssetName
from data_store.records import LineageEdge, LineageGraph
from data_store.runs import read_head, read_runs, read_version

_PRODUCED = "SELECT run_id, producer_run_id FROM current_input WHERE producer_run_id IS NOT NULL"

_EDGES = """
SELECT run_id, 'input' AS direction, role, asset_id, version_id, producer_run_id FROM current_input
WHERE run_id IN (SELECT unnest(?::TEXT[]))
UNION ALL
SELECT run_id, 'output', role, asset_id, version_id, NULL FROM run_output
WHERE run_id IN (SELECT unnest(?::TEXT[]))
ORDER BY run_id, direction, role, asset_id
"""

# What the run behind each head read, and whether that is still the head of its asset.
_USED = """
SELECT current_head.asset_id, current_input.asset_id AS input_id,
    current_input.version_id = newest.version_id AS is_current
FROM current_head
JOIN current_input ON current_input.run_id = current_head.run_id
JOIN current_head newest ON newest.asset_id = current_input.asset_id
"""
_CHANGED = "SELECT asset_id FROM current_head WHERE run_id IN (SELECT unnest(?::TEXT[])) ORDER BY asset_id"


def ancestors(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that led to these runs, these included, and all that they read and wrote."""
    return _graph(connection, roots, ancestor_ids(connection, roots))


def ancestor_ids(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> list[str]:
    """The ids of the runs that led to these runs, these included."""
    produced = connection.execute(_PRODUCED).to_arrow_table()
    return Links(produced["run_id"], produced["producer_run_id"]).reached(roots)


def descendants(connection: duckdb.DuckDBPyConnection, roots: Collection[str]) -> LineageGraph:
    """The runs that built on these runs, these included, and all that they read and wrote."""
    produced = connection.execute(_PRODUCED).to_arrow_table()
    return _graph(connection, roots, Links(produced["producer_run_id"], produced["run_id"]).reached(roots))


def makers(connection: duckdb.DuckDBPyConnection, of: AssetName | str) -> list[str]:
    """The runs that made an asset's head, or a version (by id): those of the heads that point to it, else all of them,
    newest first. None for an external source. Raises InputError for a name that is unknown.
    """
    if isinstance(of, AssetName):
        head = read_head(connection, of)
        if head is None:
            raise InputError(f"there is no asset {of}; `halter status` shows the assets there are")
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
        raise InputError(f"there is no version {version_id!r}; `halter status` shows the versions there are")


def stale(connection: duckdb.DuckDBPyConnection, changed_runs: Collection[str]) -> Mapping[AssetName, str]:
    """Stale heads with the reason, closed transitively over all iterations.

    A head is stale when the run behind it was changed by the caller's word, or read a version that is no longer the
    head of its asset, or read an asset that is itself stale. Versions are compared, not runs: redoing a step to
    identical bytes makes nothing stale. The nearest cause is named, so that the answer is the same each time.
    """
    reasons: dict[str, str] = {}
    for (asset,) in connection.execute(_CHANGED, [sorted(changed_runs)]).fetchall():
        reasons[asset] = "the step or its config changed"
    used = connection.execute(_USED).to_arrow_table()
    older = used.filter(pc.invert(used["is_current"])).select(["asset_id", "input_id"]).to_pylist()
    for asset, source in sorted((row["asset_id"], row["input_id"]) for row in older):
        reasons.setdefault(asset, f"a newer {source} is there")
    if reasons:
        found = Links(used["input_id"], used["asset_id"]).first_sources(reasons)
        for asset, source in found.items():
            reasons.setdefault(asset, f"{source} is stale")
    return {AssetName.parse(asset): reasons[asset] for asset in sorted(reasons)}


def _graph(connection: duckdb.DuckDBPyConnection, roots: Collection[str], ids: list[str]) -> LineageGraph:
    runs = read_runs(connection, "run.run_id IN (SELECT unnest(?::TEXT[]))", [ids])
    found = connection.execute(_EDGES, [ids, ids]).to_arrow_table()
    columns = [column.to_pylist() for column in found.columns]
    assets = {text: AssetName.parse(text) for text in set(columns[3])}
    columns[3] = [assets[text] for text in columns[3]]
    edges = tuple(map(LineageEdge._make, zip(*columns, strict=True)))
    return LineageGraph(tuple(roots), {summary.run.run_id: summary for summary in runs}, edges)
