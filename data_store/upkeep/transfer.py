"""Bringing a run from one store into another: its current versions, their content, and all that led to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_store.catalog import events, lineage, runs
from data_store.content.version_check import check_rows
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.read_only import check_writable
from data_store.records import Head, ImportedStep, LineageGraph, VersionInfo
from data_store.store import Store
from data_store.upkeep.foreign import ForeignStore, check_is_store, opened_foreign, require_room


@dataclass(frozen=True)
class Transferred:
    """What an import added: steps (runs of them), heads that moved, objects copied and their bytes. All 0 where nothing
    was new.
    """

    steps: int
    heads: int
    objects: int
    bytes: int


def import_store(store: Store, root: Path) -> Transferred:
    """Bring the heads of the store at `root` into `store`, with every finished run behind them back to the sources.

    Objects are copied first, each read and held against its hash; then one transaction makes all of it known. So an
    import that was cut off is taken up by doing it again, and doing it twice adds nothing. Content that the other store
    has removed (`retired`) stays removed, but for what a head points to. Runs keep their ids, versions theirs.

    The other store is only read, and nothing that it says is believed: see `foreign.py`.

    Raises InputError when there is no store at `root`, when it is this one, or when a head here points to something
    the other store never knew under that name; StoreError when an object there is missing or damaged, or something does
    not hold together.
    """
    root = root.absolute()
    if root.resolve() == store.root.resolve():
        raise InputError(f"{root} is this very store; give another one")
    check_is_store(root, "halter store")
    check_writable(store.root)
    wait_seconds = store.catalog.wait_seconds
    with opened_foreign(root, store.root / "tmp", wait_seconds=wait_seconds) as foreign, store.collecting_forbidden():
        other = foreign.known
        heads = other.heads()
        moving = _moving(store, other, heads)
        with other.catalog.reading() as connection:
            makers = sorted({head.run_id for head in heads.values() if head.run_id})
            graph = lineage.ancestors(connection, makers)
            wanted = {head.version_id for head in heads.values()} | {edge.version_id for edge in graph.edges}
            found = {identity: runs.read_version(connection, identity) for identity in sorted(wanted)}
            sql = "SELECT DISTINCT version_id FROM current_object WHERE is_retired"
            retired = {version for (version,) in connection.execute(sql).fetchall()}
        versions = {identity: version for identity, version in found.items() if version is not None}
        if lost := sorted(wanted - set(versions)):
            raise StoreError(f"{root}: its journal speaks of version {lost[0]} and does not say what that is")
        pointed = {head.version_id for head in heads.values()}
        gone = wanted & retired - pointed
        steps = _steps(other, graph, store)
        new = _unknown(store, versions)
        copied, size = _copy_objects(store, foreign, [versions[identity] for identity in sorted(set(versions) - gone)])
        check_rows(store.objects, (version for version in new if version.version_id not in gone), str(root))
        if steps or moving or new:
            store.catalog.write(events.run_imported(str(root), new, steps, moving))
        lost = sorted(identity for identity in gone if not _is_retired(store, identity))
        if lost:
            store.catalog.write(events.versions_retired(lost, f"retired in {root}"))
    return Transferred(len(steps), len(moving), copied, size)


def _moving(store: Store, other: Store, heads: Mapping[AssetName, Head]) -> dict[AssetName, tuple[str, str | None]]:
    """The heads that the import moves here: absent ones, and those that point to what the other store has left behind.

    Where this store is ahead of the other, its head stays. Raises InputError where the two have gone apart.
    """
    moving: dict[AssetName, tuple[str, str | None]] = {}
    apart: list[str] = []
    ours = store.heads()
    for asset, head in heads.items():
        mine = ours.get(asset)
        target = (head.version_id, head.run_id)
        if mine is None:
            moving[asset] = target
        elif (mine.version_id, mine.run_id) == target:
            continue
        elif (mine.version_id, mine.run_id) in {(old.version_id, old.run_id) for old in other.history(asset)}:
            moving[asset] = target
        elif target not in {(old.version_id, old.run_id) for old in store.history(asset)}:
            apart.append(f"{asset} (here {mine.version_id[:12]}, there {head.version_id[:12]})")
    if apart:
        raise InputError(
            f"the two stores have gone apart: {'; '.join(sorted(apart)[:5])}{' …' if len(apart) > 5 else ''}; "
            "import where this run is not yet known"
        )
    return moving


def _copy_objects(store: Store, foreign: ForeignStore, versions: list[VersionInfo]) -> tuple[int, int]:
    """Copy what is not here; gives how many objects and bytes."""
    refs = [ref for version in versions for ref in version.objects if ref.role != "external"]
    wanted = [ref for ref in refs if not store.objects.is_sound(ref.sha256)]
    require_room(store.root, wanted)
    copied = size = 0
    for ref in wanted:
        try:
            if foreign.take(ref, store.objects):
                copied, size = copied + 1, size + ref.bytes
        except StoreError as error:
            raise StoreError(f"{error}; nothing was imported; restore it there from a backup") from None
    return copied, size


def _steps(other: Store, graph: LineageGraph, store: Store) -> list[ImportedStep]:
    """The runs that are not here, the earliest first. Raises InputError where one of the same id here is another."""
    here = {summary.run.run_id: summary.run for summary in store.runs()}
    found = []
    for summary in sorted(graph.runs.values(), key=lambda summary: summary.seq):
        run_id = summary.run.run_id
        if here.get(run_id, summary.run) != summary.run:
            raise InputError(f"run {run_id} is another one here than there; one of the two journals was changed")
        if run_id not in here and summary.finished_at is not None:
            edges = graph.inputs_of(run_id), graph.outputs_of(run_id)
            found.append(ImportedStep(summary.run, summary.finished_at, *edges, tuple(other.metrics(run_id))))
    return found


def _unknown(store: Store, versions: Mapping[str, VersionInfo]) -> list[VersionInfo]:
    """The versions that this store knows nothing of, or whose content it had retired."""
    with store.catalog.reading() as connection:
        sql = "SELECT DISTINCT version_id FROM current_object WHERE NOT is_retired"
        known = {version for (version,) in connection.execute(sql).fetchall()}
    return [version for identity, version in versions.items() if identity not in known]


def _is_retired(store: Store, version: str) -> bool:
    sql = "SELECT bool_or(is_retired) FROM current_object WHERE version_id = ?"
    return bool(store.catalog.read(sql, [version])[0][0])
