"""What of a store can go: content that nothing needs any more, by the rule that the user gives."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import duckdb

from data_store.catalog import events, lineage, runs
from data_store.collecting import collecting
from data_store.content.contents import uses_by_object
from data_store.files import STALE_SECONDS, remove_stale, remove_tree
from data_store.layout import DAMAGED_FOLDER
from data_store.read_only import check_writable
from data_store.store import Store
from data_store.upkeep.retention import Retention

CHECKOUT_SECONDS = 7 * 24 * 3600.0
_ASIDE = "set aside as damaged; its step or a backup gives it anew"


@dataclass(frozen=True)
class Unneeded:
    """One thing that `collect` removes: an object, or a checkout (which is built again when it is wanted) or what was
    set aside as damaged (sha256 is None). `bytes` is what the disk gets back, `why` says why nothing needs it.
    """

    what: str
    sha256: str | None
    bytes: int
    why: str


@dataclass(frozen=True)
class Collected:
    """What `collect` removed, or would remove."""

    dry_run: bool
    garbage: tuple[Unneeded, ...]
    retired: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What the disk gets back."""
        return sum(item.bytes for item in self.garbage)


def collect(
    store: Store,
    *,
    dry_run: bool = True,
    retention: Retention | None = None,
    erased: Mapping[str, str] = MappingProxyType({}),
    is_at_work: Callable[[str], bool] = lambda _fingerprint: True,
    grace_seconds: float = STALE_SECONDS,
    checkout_seconds: float = CHECKOUT_SECONDS,
) -> Collected:
    """Remove what nothing needs: objects of no version, older than the grace period; checkouts long unused; what
    `repair` set aside as damaged.

    With a `retention`, also the content of superseded versions that it does not keep. A head, what the runs behind the
    heads read, and what a run that has begun reads stay in any case; `is_at_work` tells, by fingerprint, a run that
    still goes on from one that died without a word. What the catalog knows of a removed version stays, and a run that
    made it counts as unfinished from then on, so it would be done again. `erased` names versions, with the reason,
    whose content goes whatever is known of it; none of them may be a head. Publishers are kept out meanwhile.
    """
    if not dry_run:
        check_writable(store.root)
    with collecting(store.root, store.catalog) as check_alone:
        store.catalog.settle()
        with store.catalog.reading() as connection:
            in_use = _read_now(connection, is_at_work)
            superseded = {} if retention is None else _superseded(connection, retention, in_use)
            leaving = {**superseded, **erased}
            sql = "SELECT version_id, sha256 FROM current_object WHERE role <> 'external' AND NOT is_retired"
            content = connection.execute(sql).fetchall()
            uses = uses_by_object(connection)
            sql = "SELECT DISTINCT version_id FROM current_object WHERE is_retired"
            removed = {version: "its content was removed" for (version,) in connection.execute(sql).fetchall()}
        needed = {sha256 for version, sha256 in content if version not in leaving}
        known = {sha256 for _, sha256 in content}
        limit = time.time() - grace_seconds
        garbage = []
        present = dict(store.objects.all())
        for sha256, held in present.items():
            if sha256 in needed or (sha256 not in known and held.modified >= limit):
                continue
            whose = uses.get(sha256, ())
            why = next((leaving[use.version_id] for use in whose if use.version_id in leaving), "no version needs it")
            what = "; ".join(map(str, whose)) or "published, never committed"
            garbage.append(Unneeded(what, sha256, held.size, why))
        unused = _unused(store, {**removed, **leaving}, in_use, time.time() - checkout_seconds)
        for version, why in unused.items():
            size = store.checkouts.bytes(version) + store.arrow_files.bytes(version)
            garbage.append(Unneeded(f"checkout of {version}", None, size, why))
        aside = _set_aside(store)
        garbage += [
            Unneeded("; ".join(map(str, uses.get(path.name, ()))) or path.name, None, path.stat().st_size, _ASIDE)
            for path in aside
        ]
        if not dry_run:
            retired = {**dict.fromkeys(superseded, "superseded"), **erased}
            for reason in sorted(set(retired.values())):
                going = [version for version, why in retired.items() if why == reason]
                store.catalog.write(events.versions_retired(going, reason))
            for version in unused:
                store.checkouts.evict(version)
                store.arrow_files.evict(version)
            for item in garbage:
                if item.sha256:
                    check_alone()
                    store.objects.remove(item.sha256)
            store.objects.tidy(present, grace_seconds)
            for path in aside:
                remove_tree(path)
            _clear_drafts(store.root / "tmp", all_of_them=bool(erased))
    return Collected(dry_run, tuple(garbage), tuple(sorted(leaving)))


def _unused(store: Store, going: Mapping[str, str], in_use: Collection[str], oldest: float) -> dict[str, str]:
    """Version → why it needs not be laid out any more: it is `going`, or nobody has used it since `oldest`."""
    laid_out = (*store.checkouts.cached(), *store.arrow_files.cached())
    long_unused = {version for version, used in laid_out if used < oldest and version not in in_use}
    return {
        version: going.get(version, "long unused; it is built again when it is wanted")
        for version in sorted({version for version, _ in laid_out})
        if version in going or version in long_unused
    }


def _set_aside(store: Store) -> list[Path]:
    """The files that `repair` and the catalog have put aside because they are damaged."""
    folder = store.root / DAMAGED_FOLDER
    return [*(sorted(folder.iterdir()) if folder.is_dir() else ()), *sorted(store.root.glob("damaged-*.duckdb"))]


def _clear_drafts(folder: Path, *, all_of_them: bool) -> None:
    """Remove what killed processes left, `all_of_them` at once: rows that are erased may be among it. Nobody writes
    content while the collector is at work; catalogs are made anew under another lock and stay."""
    remove_stale(folder)
    for entry in folder.iterdir() if all_of_them else ():
        if entry.suffix not in (".duckdb", ".wal", ".foreign"):
            remove_tree(entry)


def _read_now(connection: duckdb.DuckDBPyConnection, is_at_work: Callable[[str], bool]) -> set[str]:
    """The versions that runs read which have begun and go on."""
    sql = """
        SELECT run.fingerprint, run_read.version_id FROM run_read
        JOIN run ON run.run_id = run_read.run_id JOIN run_state ON run_state.run_id = run_read.run_id
        WHERE run_state.state = 'running' ORDER BY run.fingerprint"""
    found = connection.execute(sql).fetchall()
    working = {fingerprint: is_at_work(fingerprint) for fingerprint in {row[0] for row in found}}
    return {version for fingerprint, version in found if working[fingerprint]}


def _superseded(connection: duckdb.DuckDBPyConnection, retention: Retention, in_use: Collection[str]) -> dict[str, str]:
    """Version → why it goes: versions with content that are no head, that no run behind a head read and no run reads
    now, and that the rule keeps under none of their names.
    """
    heads = runs.read_heads(connection).values()
    graph = lineage.ancestors(connection, sorted({head.run_id for head in heads if head.run_id}))
    kept = {head.version_id for head in heads} | {edge.version_id for edge in graph.edges if edge.direction == "input"}
    kept.update(in_use)
    moment = datetime.now(UTC)
    why: dict[str, str] = {}
    for asset, versions in _past_of_assets(connection).items():
        for rank, (version, until) in enumerate(versions):
            days = (moment - until).total_seconds() / 86400
            if rank < retention.keep_versions or days < retention.keep_days:
                kept.add(version)
            why[version] = f"{asset} has had {rank + 1} newer since; superseded {days:.1f} days ago"
    sql = "SELECT DISTINCT version_id FROM current_object WHERE role <> 'external' AND NOT is_retired ORDER BY 1"
    return {version: why[version] for (version,) in connection.execute(sql).fetchall() if version not in kept}


def _past_of_assets(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, datetime]]]:
    """Asset → (version, until when the asset pointed to it), newest first, the present version left out."""
    past: dict[str, list[tuple[str, datetime]]] = {}
    later: dict[str, tuple[datetime, set[str]]] = {}
    sql = "SELECT asset_id, version_id, ts FROM head ORDER BY asset_id, seq DESC"
    for asset, version, since in connection.execute(sql).fetchall():
        until, seen = later.get(asset, (None, set()))
        if until is not None and version not in seen:
            past.setdefault(asset, []).append((version, until))
        later[asset] = (runs.utc(since), seen | {version})
    return past
