"""Looking after a store: is it sound, what can go, and a copy elsewhere."""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb

from data_store import events, lineage, runs
from data_store.annotation.book import copy_book
from data_store.errors import InputError, StoreError
from data_store.journal import START
from data_store.layout import MARKER
from data_store.locks import STALE_SECONDS, locked, remove_stale, sync_folder, write_durably
from data_store.store import Store

_WANTED = """
SELECT sha256, max(bytes) FROM current_object WHERE role <> 'external' AND NOT is_retired GROUP BY 1 ORDER BY 1
"""
CHECKOUT_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Verification:
    """What `verify` read, and what is wrong, one sentence each."""

    n_events: int
    n_objects: int
    bytes: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Garbage:
    """One thing that `collect` removes: an object, or a checkout (which is built again when it is wanted)."""

    what: str
    sha256: str | None
    bytes: int


@dataclass(frozen=True)
class Collection:
    """What `collect` removed, or would remove. `bytes` is what the disk gets back."""

    dry_run: bool
    garbage: tuple[Garbage, ...]
    retired: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What the disk gets back, checkouts not counted: they are links for the most part."""
        return sum(item.bytes for item in self.garbage)


def verify(store: Store, *, deep: bool = True) -> Verification:
    """Check the journal's chain, that the catalog has read all of it, and every object of a version that is not
    retired: its bytes against its name with `deep`, else its size only.
    """
    problems: list[str] = []
    store.catalog.settle()
    count, end = 0, START
    try:
        for entry in store.catalog.journal.after(0, START):
            count, end = entry.seq, entry.sha256
    except StoreError as error:
        problems.append(str(error))
    with store.catalog.reading() as connection:
        tail = connection.execute("SELECT seq, sha256 FROM applied_event ORDER BY seq DESC LIMIT 1").fetchone()
        wanted = connection.execute(_WANTED).fetchall()
        names = _readable_names(connection)
    if not problems and (tail or (0, START)) != (count, end):
        problems.append(
            f"{store.catalog.file} ends at event {tail}, the journal at {(count, end)}: the journal has lost segments; "
            f"restore {store.catalog.journal.segments} from a backup"
        )
    for sha256, size in wanted:
        try:
            if deep:
                store.objects.verify(sha256)
            elif store.objects.require(sha256).stat().st_size != size:
                raise StoreError(
                    f"{store.objects.path(sha256)} is damaged: it has not {size} bytes; restore it or rerun"
                )
        except StoreError as error:
            problems.append(f"{names.get(sha256, 'unnamed')}: {error}")
    return Verification(count, len(wanted), sum(size for _, size in wanted), tuple(problems))


def collect(
    store: Store,
    *,
    dry_run: bool = True,
    superseded: bool = False,
    erased: Mapping[str, str] = MappingProxyType({}),
    grace_seconds: float = STALE_SECONDS,
    checkout_seconds: float = CHECKOUT_SECONDS,
) -> Collection:
    """Remove what nothing needs: objects of no version, older than the grace period; checkouts long unused.

    With `superseded`, also the content of versions that are no head and that no run behind a head read; what the
    catalog knows of them stays, and a run that made them counts as unfinished from then on, so it would be done again.
    `erased` names versions, with the reason, whose content goes whatever is known of it; none of them may be a head.
    Publishers are kept out meanwhile.
    """
    with locked(store.root / "gc.lock", exclusive=True, wait_seconds=store.catalog.wait_seconds):
        store.catalog.settle()
        with store.catalog.reading() as connection:
            reasons = {**dict.fromkeys(_superseded(connection) if superseded else [], "superseded"), **erased}
            sql = "SELECT version_id, sha256 FROM current_object WHERE role <> 'external' AND NOT is_retired"
            content = connection.execute(sql).fetchall()
            names = _readable_names(connection)
        leaving = set(reasons)
        needed = {sha256 for version, sha256 in content if version not in leaving}
        known = {sha256 for _, sha256 in content}
        limit = time.time() - grace_seconds
        garbage = [
            Garbage(names.get(sha256, "published, never committed"), sha256, stat.st_size)
            for sha256, stat in store.objects.all()
            if sha256 not in needed and (sha256 in known or stat.st_mtime < limit)
        ]
        unused = [
            version
            for version, used in store.checkouts.cached()
            if version in leaving or used < time.time() - checkout_seconds
        ]
        if not dry_run:
            for reason in sorted(set(reasons.values())):
                going = [version for version, why in reasons.items() if why == reason]
                store.catalog.write(events.versions_retired(going, reason))
            for version in unused:
                store.checkouts.evict(version)
            for item in garbage:
                if item.sha256:
                    store.objects.remove(item.sha256)
            remove_stale(store.root / "tmp")
    evicted = [Garbage(f"checkout of {version}", None, 0) for version in unused]
    return Collection(dry_run, (*garbage, *evicted), tuple(sorted(reasons)))


def backup(store: Store, target: Path) -> int:
    """Copy the store to a folder that opens as a store; what is there already is not copied again, but for the book of
    human judgements, which is copied whole. Gives the files that were written.

    Raises InputError when the folder holds something else, or another store's backup.
    """
    target = target.absolute()
    if target.is_relative_to(store.root):
        raise InputError(f"{target} lies inside the store; give a folder elsewhere, best on another disk")
    store.catalog.settle()
    copy = Store.open(target)
    copied = 0
    with store.collecting_forbidden():
        # The journal is listed first: every object that these segments speak of exists by now.
        segments = store.catalog.journal.segments_there()
        ours = {segment.name: segment for segment in segments}
        earlier = copy.catalog.journal.segments_there()
        if any(s.name not in ours or ours[s.name].read_bytes() != s.read_bytes() for s in earlier):
            raise InputError(f"{target} is not an earlier backup of {store.root}; give another folder")
        for sha256, _ in store.objects.all():
            if not copy.objects.exists(sha256):
                copy.objects.put_file(store.objects.path(sha256))
                copied += 1
    drafts = copy.catalog.journal.drafts
    for segment in segments:
        place = copy.catalog.journal.segments / segment.name
        if not place.exists():
            write_durably(place, segment.read_bytes(), drafts)
            copied += 1
    copied += copy_book(store.root, target)
    shutil.copyfile(store.root / MARKER, target / MARKER)
    sync_folder(target)
    copy.catalog.settle()
    return copied


def _superseded(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Versions with content that are no head and that no run behind a head read."""
    heads = runs.read_heads(connection).values()
    graph = lineage.ancestors(connection, sorted({head.run_id for head in heads if head.run_id}))
    kept = {head.version_id for head in heads} | {edge.version_id for edge in graph.edges if edge.direction == "input"}
    sql = "SELECT DISTINCT version_id FROM current_object WHERE role <> 'external' AND NOT is_retired ORDER BY 1"
    return [version for (version,) in connection.execute(sql).fetchall() if version not in kept]


def _readable_names(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """One name per object that people understand: asset, version and path."""
    sql = """
        SELECT current_object.sha256, max(run_output.asset_id), max(current_object.version_id), max(current_object.path)
        FROM current_object JOIN run_output ON run_output.version_id = current_object.version_id
        GROUP BY current_object.sha256"""
    found: Iterable[tuple[str, str, str, str]] = connection.execute(sql).fetchall()
    return {sha256: f"{asset} {version[:12]} {path}" for sha256, asset, version, path in found}
