"""Which object is the content of what: the names by which people know what lies in the store under its hash."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb

from data_store.records import LineageGraph

_USES = """
SELECT DISTINCT current_object.sha256, head.asset_id, current_object.version_id, current_object.path,
    current_object.bytes
FROM current_object JOIN head ON head.version_id = current_object.version_id
WHERE current_object.role <> 'external' AND {condition}
ORDER BY head.asset_id, current_object.version_id, current_object.path
"""


@dataclass(frozen=True)
class Use:
    """One version, under one of its names, that an object is part of. `path` is its name inside the version."""

    sha256: str
    asset: str
    version_id: str
    path: str
    bytes: int

    def __str__(self) -> str:
        return f"{self.asset} {self.version_id[:12]} {self.path}"


def uses_by_object(connection: duckdb.DuckDBPyConnection, *, retired: bool = True) -> Mapping[str, tuple[Use, ...]]:
    """sha256 → all versions that it is part of; without `retired`, only those whose content is to be there."""
    found: dict[str, tuple[Use, ...]] = {}
    sql = _USES.format(condition="TRUE" if retired else "NOT current_object.is_retired")
    for row in connection.execute(sql).fetchall():
        use = Use(*row)
        found[use.sha256] = (*found.get(use.sha256, ()), use)
    return found


def built_on(graph: LineageGraph, heads: Mapping[str, str], versions: Collection[str]) -> tuple[list[str], list[str]]:
    """What the runs of a graph wrote, these versions left out: the assets that point there now, and `asset version` of
    what has been superseded since. heads: asset → version id.
    """
    wrote = {
        (str(edge.asset), edge.version_id)
        for edge in graph.edges
        if edge.direction == "output" and edge.version_id not in versions
    }
    current = sorted(asset for asset, version in wrote if heads.get(asset) == version)
    older = sorted(f"{asset} {version[:12]}" for asset, version in wrote if heads.get(asset) != version)
    return current, older
