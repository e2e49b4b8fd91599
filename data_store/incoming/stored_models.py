"""Models of this store that are named for good: by the id of a version, whatever its asset points to today."""

import re

from data_store.catalog.origins import StoredOrigin
from data_store.errors import InputError
from data_store.incoming.sources import register
from data_store.names import AssetName
from data_store.records import Head, Publication
from data_store.store import Store

_ID = re.compile(r"[0-9a-f]{8,64}")
_MOST_NAMED = 8
# The newest head of each version that a model ever was.
_MODELS = """
SELECT head.version_id, max_by(asset_id, head.seq), max_by(run_id, head.seq), max(head.seq) AS seq
FROM head JOIN version USING (version_id) WHERE version.kind = 'model' AND asset_id NOT LIKE 'source/%'
GROUP BY head.version_id ORDER BY seq DESC
"""


def find_model(store: Store, wanted: str, where: str) -> StoredOrigin:
    """The version that an id, or its first eight digits or more, means, or what an asset (kind/name@part) points to.
    Raises InputError for what the store does not hold, naming what it does; `where` is the key of the config."""
    models = {str(version): (str(asset), run) for version, asset, run, _ in store.catalog.read(_MODELS)}
    if "@" in wanted:
        head = store.head(AssetName.parse(wanted))
        found = [] if head is None else [head.version_id]
    else:
        found = [version for version in models if _ID.fullmatch(wanted) and version.startswith(wanted)]
    known = [version for version in found if version in models]
    if len(known) != 1:
        there = ", ".join(f"{asset} {version[:12]}" for version, (asset, _) in list(models.items())[:_MOST_NAMED])
        many = "is the beginning of several versions" if known else "is no model of this store"
        raise InputError(f"{where}: {wanted} {many}; the newest there are: {there or 'none'}")
    (version,) = known
    if not all(store.objects.exists(each.sha256) for each in store.version(version).objects):
        raise InputError(f"{where}: the content of {wanted} was removed from the store; name another one")
    asset, run = models[version]
    return StoredOrigin(asset, version, run)


def register_model(store: Store, found: StoredOrigin, asset: AssetName) -> Head:
    """The version as a source of this store, with what made it; nothing is copied, since the content lies there."""
    with store.collecting_forbidden():
        of = store.version(found.from_version)
        content = Publication(
            of.version_id,
            of.kind,
            of.set_hash,
            of.schema_hash,
            of.row_kind,
            of.n_rows,
            of.bytes,
            0,
            of.parent,
            of.objects,
        )
        return register(store, asset, content, found)


def content_of(store: Store, found: StoredOrigin, path: str) -> bytes | None:
    """What a file of the version holds; None where it has no such file."""
    objects = {each.path: each.sha256 for each in store.version(found.from_version).objects}
    return store.objects.sound(objects[path]).read_bytes() if path in objects else None
