"""The one door for what comes into a store and was made by no step: it becomes a source, with its origin.

Adding a way in is one more class of `origins.py`; whoever brings something in calls `register`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.catalog import events
from data_store.catalog.origins import FileOrigin, Origin
from data_store.commands import halter
from data_store.content.publishing import describe_source
from data_store.content.rowsets import ROWS_FILE
from data_store.errors import StoreError
from data_store.names import AssetName, slug
from data_store.records import Head, Publication
from data_store.store import Store


def register(store: Store, asset: AssetName, publication: Publication, origin: Origin) -> Head:
    """Let an asset point to content that came from outside, and keep where it came from; nothing is written when it
    points there already. Whoever published the content keeps the collector out until this returns.

    Raises ValueError for an origin with a fact that is not of its shape.
    """
    head = store.head(asset)
    if head is None or head.version_id != publication.version_id:
        store.catalog.write(events.source_registered(asset, publication, origin))
        head = store.head(asset)
    if head is None:
        raise StoreError(f"{asset} was registered and has no head; run `{halter('verify')}`")
    return head


def register_rows(store: Store, asset: AssetName, table: pa.Table, row_kind: str, origin: Origin) -> Head:
    """`register` for rows: they are stored as a data set of their kind. Raises InputError for rows that are not."""
    with store.collecting_forbidden(), TemporaryDirectory(dir=store.root / "tmp") as folder:
        pq.write_table(table, Path(folder) / ROWS_FILE)
        return register(store, asset, store.publish("dataset", Path(folder), row_kind=row_kind), origin)


def register_file(store: Store, path: Path, *, name: str | None = None) -> Head:
    """`register` for a file or folder outside the store: asset `source/<name>@external`, the name made of the file's by
    default. Its bytes are hashed, not copied. Raises InputError when the path does not exist.
    """
    path = path.absolute()
    asset = AssetName("source", slug(path.name) if name is None else name, "external")
    publication = describe_source("source", path, store.source_hashes)
    store.source_hashes.save()
    return register(store, asset, publication, FileOrigin(str(path)))
