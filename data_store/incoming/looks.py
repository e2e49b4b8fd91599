"""What `halter status` asks of the catalog: everything behind the heads at once, in queries that bind no value, because
at the first one that is bound DuckDB imports pandas, which takes longer than the whole look.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from data_store.names import AssetName
from data_store.records import RunInput
from data_store.store import Store

_INPUTS = """
SELECT run_id, role, asset_id, version_id, producer_run_id FROM current_input
WHERE run_id IN (SELECT run_id FROM current_head)
"""
_CONTENT = """
SELECT DISTINCT current_head.run_id, current_object.sha256 FROM current_head
JOIN current_object USING (version_id) WHERE current_head.run_id IS NOT NULL
"""
_FILES = "SELECT version_id, path, sha256 FROM current_object WHERE role = 'external' ORDER BY path"


@dataclass(frozen=True)
class BehindHeads:
    """`inputs`: what the runs behind the heads read, by their newest word; `content`: the objects of the heads that
    each made; `files`: what versions of files outside hold: version → path inside it → sha256."""

    inputs: Mapping[str, frozenset[RunInput]]
    content: Mapping[str, frozenset[str]]
    files: Mapping[str, Mapping[str, str]]


def behind_heads(store: Store) -> BehindHeads:
    """All of it, of one state of the catalog."""
    inputs, content = defaultdict[str, set[RunInput]](set), defaultdict[str, set[str]](set)
    files = defaultdict[str, dict[str, str]](dict)
    with store.one_state():
        for run_id, role, asset, version, producer in store.catalog.read(_INPUTS):
            inputs[run_id].add(RunInput(role, AssetName.parse(asset), version, producer))
        for run_id, sha256 in store.catalog.read(_CONTENT):
            content[run_id].add(sha256)
        for version, path, sha256 in store.catalog.read(_FILES):
            files[version][path] = sha256
    return BehindHeads(
        {run_id: frozenset(found) for run_id, found in inputs.items()},
        {run_id: frozenset(found) for run_id, found in content.items()},
        dict(files),
    )
