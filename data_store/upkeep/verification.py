"""Is a store sound, and if not: what is broken, and what depends on it.

Three things are held against each other: the journal against its own chain of hashes, the catalog against the journal,
and every object against its name. Checkouts that are no links to objects are held against their versions.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from data_store.annotation.book import BOOK_FILE, book_trouble
from data_store.catalog import lineage, runs
from data_store.catalog.events import TABLES
from data_store.catalog.journal import Entry
from data_store.catalog.projection import CONFIG, build, tail
from data_store.content.contents import Use, built_on, uses_by_object
from data_store.content.objects import ObjectFault, file_sha256
from data_store.content.publishing import files_in
from data_store.content.rowsets import ROWS_FILE, rows_hash
from data_store.errors import InputError, StoreError, UnwritableError
from data_store.records import VersionInfo
from data_store.results import first_row
from data_store.store import Store

Progress = Callable[[int, int], None]  # bytes done, bytes in all

# Each finds rows that point nowhere; one text column names the row.
_EDGES = {
    "reads a version that is not there": """
        SELECT 'run ' || run_id || ': ' || role || ' ' || asset_id FROM run_input
        WHERE version_id NOT IN (SELECT version_id FROM version)""",
    "reads what its producer did not write": """
        SELECT 'run ' || run_id || ': ' || role || ' ' || asset_id FROM run_input
        WHERE producer_run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run_output
            WHERE run_output.run_id = run_input.producer_run_id AND run_output.version_id = run_input.version_id)""",
    "wrote a version that is not there": """
        SELECT 'run ' || run_id || ': ' || role || ' ' || asset_id FROM run_output
        WHERE version_id NOT IN (SELECT version_id FROM version)""",
    "has edges and is not there": """
        SELECT DISTINCT 'run ' || run_id FROM (SELECT run_id FROM run_input UNION SELECT run_id FROM run_output)
        WHERE run_id NOT IN (SELECT run_id FROM run)""",
    "points to a version that is not there": """
        SELECT asset_id FROM head WHERE version_id NOT IN (SELECT version_id FROM version)""",
    "points to what its run did not write": """
        SELECT asset_id FROM head WHERE run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run_output
            WHERE run_output.run_id = head.run_id AND run_output.version_id = head.version_id)""",
    "has no content": """
        SELECT 'version ' || version_id FROM version
        WHERE version_id NOT IN (SELECT version_id FROM version_object)""",
}


@dataclass(frozen=True)
class Damage:
    """An object that is missing or not what its name says.

    uses: the versions that it is part of. heads: the assets of these that point there now. dependents: the assets whose
    present version was built on one of them; older_dependents: superseded versions that were.
    """

    sha256: str
    place: str
    fault: ObjectFault
    uses: tuple[Use, ...]
    heads: tuple[str, ...]
    dependents: tuple[str, ...]
    older_dependents: tuple[str, ...]

    def __str__(self) -> str:
        name = "; ".join(map(str, self.uses))
        return f"{name}: {self.place} is {self.fault}"


@dataclass(frozen=True)
class Fault:
    """Something else that is wrong: in the journal, in the catalog, in the book of judgements, or in a checkout (its
    version's id is `what`)."""

    where: Literal["journal", "catalog", "book", "checkout"]
    what: str
    text: str


@dataclass(frozen=True)
class Verification:
    """What was read, and what is wrong."""

    n_events: int
    n_objects: int
    bytes: int
    damages: tuple[Damage, ...]
    faults: tuple[Fault, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one sentence each."""
        return (*(fault.text for fault in self.faults), *map(str, self.damages))


def verify(store: Store, *, deep: bool = True, on_progress: Progress = lambda _done, _total: None) -> Verification:
    """Check the journal's chain, that the catalog has read all of it, that every edge leads somewhere, and every object
    of a version that is not retired: with `deep` its bytes against its name, else its size only. `deep` also holds the
    catalog against the journal, row by row, the checkouts against their versions, and reads every page of the book of
    judgements.
    """
    with suppress(UnwritableError):  # it can be read all the same
        store.catalog.settle()
    faults: list[Fault] = []
    with store.catalog.reading() as connection:
        wanted = uses_by_object(connection, retired=False)
        faults += [
            Fault("catalog", name, f"{name} {trouble}")
            for trouble, sql in _EDGES.items()
            for (name,) in connection.execute(sql).fetchall()
        ]
        known = tail(connection)
        sums = {name: _sum_of(connection, name) for name in TABLES} if deep else {}
    n_events, more = _verify_journal(store, known, sums)
    faults += more
    total, broken = broken_objects(store, wanted, deep, on_progress)
    if deep:
        faults += [*_verify_checkouts(store), *book_faults(store)]
    with store.catalog.reading() as connection:
        damages = damages_of(store, connection, wanted, broken)
    return Verification(n_events, len(wanted), total, damages, tuple(faults))


def broken_objects(
    store: Store, wanted: Mapping[str, tuple[Use, ...]], deep: bool, on_progress: Progress
) -> tuple[int, dict[str, ObjectFault]]:
    """The bytes of all wanted objects, and what is wrong with those that are not sound."""
    broken: dict[str, ObjectFault] = {}
    total, done = sum(uses[0].bytes for uses in wanted.values()), 0
    for sha256, uses in wanted.items():
        on_progress(done, total)
        if fault := store.objects.fault(sha256, uses[0].bytes, deep=deep):
            broken[sha256] = fault
        done += uses[0].bytes
    on_progress(total, total)
    return total, broken


def damages_of(
    store: Store,
    connection: duckdb.DuckDBPyConnection,
    wanted: Mapping[str, tuple[Use, ...]],
    broken: Mapping[str, ObjectFault],
) -> tuple[Damage, ...]:
    """What the broken ones of the wanted objects are part of, and what was built on them."""
    heads = {str(asset): head.version_id for asset, head in runs.read_heads(connection).items()}
    return tuple(_damage(store, connection, heads, sha256, broken[sha256], wanted[sha256]) for sha256 in broken)


def _damage(
    store: Store,
    connection: duckdb.DuckDBPyConnection,
    heads: Mapping[str, str],
    sha256: str,
    fault: ObjectFault,
    uses: tuple[Use, ...],
) -> Damage:
    versions = {use.version_id for use in uses}
    readers = {run_id for version in versions for run_id in lineage.users(connection, version)}
    current, older = built_on(lineage.descendants(connection, sorted(readers)), heads, versions)
    pointing = sorted({use.asset for use in uses if heads.get(use.asset) == use.version_id})
    place = store.objects.where(sha256)
    return Damage(sha256, place, fault, uses, tuple(pointing), tuple(current), tuple(older))


def _verify_journal(
    store: Store, known: tuple[int, str], sums: Mapping[str, tuple[int, int]]
) -> tuple[int, list[Fault]]:
    """The count of sound events, and what is wrong with the journal or with what the catalog has read of it: up to the
    event `known`, its tables have these sums (none: they are not compared).
    """
    count = 0

    def counted() -> Iterator[Entry]:
        nonlocal count
        for entry in store.catalog.journal.whole(known):
            if entry.seq > known[0]:
                continue  # written since this connection was opened
            count = entry.seq
            yield entry

    draft = (store.root / "tmp" if store.spare is None else store.spare.folder("tmp")) / f"{uuid.uuid4().hex}.duckdb"
    try:
        if not sums:
            for _ in counted():
                pass
            return count, []
        build(draft, counted())
        again = duckdb.connect(str(draft), read_only=True, config=CONFIG)
        try:
            other = [name for name, expected in sums.items() if _sum_of(again, name) != expected]
        finally:
            again.close()
    except duckdb.Error as error:
        raise StoreError(
            f"no second catalog can be made in {draft.parent} to compare this one with: {error}"
        ) from error
    except StoreError as error:
        return count, [Fault("journal", store.catalog.journal.place, str(error))]
    finally:
        draft.unlink(missing_ok=True)
    text = "{file}: table {name} is not what the journal says"
    return count, [Fault("catalog", name, text.format(file=store.catalog.file, name=name)) for name in other]


def book_faults(store: Store) -> list[Fault]:
    """What is wrong with the book of human judgements."""
    trouble = book_trouble(store.root)
    return [] if trouble is None else [Fault("book", BOOK_FILE, trouble)]


def _sum_of(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int]:
    """How many rows a table has, and a sum over them that is free of their order."""
    sql = f"SELECT count(*), coalesce(bit_xor(hash(each)), 0) FROM {table} each"  # noqa: S608  (a table of ours)
    found = first_row(connection, sql)
    return (int(found[0]), int(found[1])) if found else (0, 0)


def _verify_checkouts(store: Store) -> list[Fault]:
    """The checkouts that do not hold what their versions say."""
    faults = []
    for version_id, _ in store.checkouts.cached():
        folder = store.checkouts.path(version_id)
        try:
            sound = _is_checkout_of(store, store.version(version_id), folder)
        except (InputError, OSError, pa.ArrowException):
            sound = False
        if not sound and folder.is_dir():  # else it was evicted meanwhile
            faults.append(Fault("checkout", version_id, f"{folder} does not hold what its version says"))
    return faults


def _is_checkout_of(store: Store, version: VersionInfo, folder: Path) -> bool:
    if version.row_kind is not None:
        return rows_hash(folder / ROWS_FILE) == version.set_hash
    there = dict(files_in(folder))
    if set(there) != {ref.path for ref in version.objects}:
        return False
    for ref in version.objects:
        verified = store.objects.shares(ref.sha256, there[ref.path])  # with the objects
        if not verified and file_sha256(there[ref.path]) != ref.sha256:
            return False
    return True
