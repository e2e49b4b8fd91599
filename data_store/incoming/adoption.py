"""Data of another run's store as an input here: distillation learns from another run's picks."""

from data_store.catalog.origins import AdoptedOrigin
from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError, StoreError
from data_store.identity import check_identity, is_beside
from data_store.incoming.sources import register
from data_store.layout import MARKER
from data_store.names import AssetName, slug
from data_store.records import Head
from data_store.store import Store

_ADOPTED = """
SELECT origin.run, source.version_id FROM source JOIN origin ON origin.seq = source.seq
WHERE origin.kind = 'adopted' ORDER BY source.seq"""


def adopted_from(store: Store) -> dict[str, set[str]]:
    """Run → the versions that this store has ever taken from it."""
    found: dict[str, set[str]] = {}
    for run, version_id in store.catalog.read(_ADOPTED):
        if is_beside(str(run)):  # a store that was put into its place by hand may say anything
            found.setdefault(run, set()).add(version_id)
    return found


def adopted_asset(run: str, asset: AssetName) -> AssetName:
    """The source that another run's asset becomes here."""
    return AssetName("source", slug(f"{run}-{asset.name}-{asset.part}"), "external")


def offered(store: Store, run: str, asset: AssetName) -> str | None:
    """The version that another run's asset points to now; None where the run, or the asset in it, is not there."""
    if not (store.root.parent / run / MARKER).is_file():
        return None
    head = Store.open(store.root.parent / run).heads().get(asset)
    return None if head is None else head.version_id


def adopt(store: Store, run: str, asset: AssetName) -> Head:
    """Copy what another run's asset points to now into this store, as the source `<run>-<name>-<part>@external`.

    The stores of runs lie side by side. The version keeps its id, which is its content; where it came from (run, asset,
    version and the run that made it) stands with the source. Nothing is written when the content is the known one.
    Where the other store is gone, what was adopted before still holds. Raises InputError for a run or an asset that is
    not there, naming what is.
    """
    adopted = adopted_asset(run, asset)
    known = store.head(adopted)
    if not (store.root.parent / run / MARKER).is_file():
        if known is not None:
            return known
        others = sorted(path.parent.name for path in store.root.parent.glob(f"*/{MARKER}") if path.parent != store.root)
        raise InputError(
            f"distill.run: there is no run {run!r} in {store.root.parent}; there are: {', '.join(others) or 'none'}"
            f"{did_you_mean(run, others)}"
        )
    check_identity(store.root.parent / run)
    other = Store.open(store.root.parent / run)
    heads = other.heads()
    if asset not in heads:
        like = [each.part for each in sorted(heads) if (each.kind, each.name) == (asset.kind, asset.name)]
        raise InputError(
            f"distill.run: run {run!r} has no {asset}; it has {asset.name} of: {', '.join(like) or 'no iteration'}. "
            "Run it first, or set fewer iterations here"
        )
    there = heads[asset]
    if known is not None and known.version_id == there.version_id:
        return known
    version = other.version(there.version_id)
    with store.collecting_forbidden(), other.collecting_forbidden():
        published = store.publish(version.kind, other.checkout(there.version_id), row_kind=version.row_kind)
        if published.version_id != there.version_id:
            raise StoreError(
                f"{asset} of run {run!r} changed its content on the way; run `{halter('verify', run=run)}`"
            )
        return register(store, adopted, published, AdoptedOrigin(run, str(asset), there.version_id, there.run_id))
