"""Withdrawn rows: which versions hold rows of an annotator or of a source, and what was made from them.

Rows of kind `preference` name their annotator; imported rows name their source, a file with its line
(`prompts.jsonl:12`, `trees.jsonl:3#2`) or a part of the little world (`world:prompts/12`). A version is tainted when it
holds withdrawn rows, or when every run that made it read a tainted version. An output whose rows are rows of an input,
chosen one by one, is judged by its own rows and not by that input.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from data_store.catalog import events
from data_store.content.rowsets import load_rows
from data_store.names import AssetName
from data_store.records import Withdrawal
from data_store.row_sources import is_from
from data_store.rows import ROW_KINDS
from data_store.store import Store

PassedOn = Mapping[tuple[str, str], Collection[str]]  # (step, role of an output) → roles whose rows it passes on

# Versions with content that were first published after an event.
_VERSIONS = """
SELECT version.version_id FROM version
JOIN (SELECT version_id, min(seq) AS seq FROM version_object GROUP BY version_id) born
    ON born.version_id = version.version_id
WHERE version.row_kind IN (SELECT unnest(?::TEXT[])) AND born.seq > ?
    AND version.version_id IN (SELECT version_id FROM current_object WHERE NOT is_retired)
ORDER BY version.version_id
"""
_EDGES = """
SELECT current_input.run_id, run.step, current_input.role, current_input.asset_id, current_input.version_id,
    current_input.producer_run_id
FROM current_input JOIN run ON run.run_id = current_input.run_id
"""
_PRODUCTS = """
SELECT run_output.run_id, run_output.role, run_output.asset_id, run_output.version_id
FROM run_output JOIN run_state ON run_state.run_id = run_output.run_id WHERE run_state.state = 'succeeded'
"""


@dataclass(frozen=True)
class Taint:
    """What withdrawn rows reached. `made`: (run, version it wrote) → why; `versions`: version → why; `rows`: version →
    withdrawn rows in it."""

    made: Mapping[tuple[str, str], str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)


def withdraw(store: Store, what: str, name: str, reason: str) -> None:
    """Withdraw the rows of an annotator or a source, and note which versions hold them. Raises InputError where they
    are withdrawn already."""
    store.catalog.write(events.withdrawal_set(what, name, True, reason, count_rows(store, what, name)))


def readmit(store: Store, what: str, name: str, reason: str) -> None:
    """Take a withdrawal back. Raises InputError where there is none."""
    store.catalog.write(events.withdrawal_set(what, name, False, reason, {}))


def count_rows(store: Store, what: str, name: str, *, after: int = 0) -> dict[str, int]:
    """version → its rows of this annotator or source, for every version that was first published after event number
    `after`, has such rows and has not been retired."""
    found = {}
    for version_id, column in _columns(store, what, after):
        if count := pc.sum(is_from(column, what, name)).as_py():
            found[version_id] = count
    return found


def names_in(store: Store, what: str) -> list[str]:
    """Every annotator, or every imported source, that some stored row names."""
    found: set[str] = set()
    for _, column in _columns(store, what, 0):
        if what == "source":
            column = pc.filter(column, pc.match_substring_regex(column, r"(:\d+(#\d+)?|^world:\w+/\d+)$"))
            column = pc.replace_substring_regex(column, r"[:/]\d+(#\d+)?$", "")
        found.update(pc.unique(column).to_pylist())
    return sorted(found)


def taint_of(store: Store, withdrawals: Iterable[Withdrawal], passed_on: PassedOn, adopted: Mapping[str, str]) -> Taint:
    """What the rows of these withdrawals reached in this store. `adopted`: versions taken from other runs' stores that
    are tainted there, with why."""
    touched = dict(adopted)
    rows: dict[str, int] = {}
    for withdrawal in withdrawals:
        for version_id, count in _holding(store, withdrawal).items():
            rows[version_id] = rows.get(version_id, 0) + count
            touched[version_id] = f"holds {count} row{'s' * (count > 1)} of {withdrawal}"
    if not touched:
        return Taint()
    with store.catalog.reading() as connection:
        made = _spread(connection, touched, passed_on)
        makers: dict[str, set[str]] = {}
        for run_id, _, _, version_id in connection.execute(_PRODUCTS).fetchall():
            makers.setdefault(version_id, set()).add(run_id)
    reached = {version_id: why for (_, version_id), why in made.items()}
    versions = {
        version_id: why
        for version_id, why in reached.items()
        if all((run_id, version_id) in made for run_id in makers[version_id])
    }
    return Taint(made, {**versions, **touched}, rows)


def _holding(store: Store, withdrawal: Withdrawal) -> dict[str, int]:
    """What was noted when they were withdrawn, which outlives the rows themselves, and versions that came since."""
    noted = store.catalog.read("SELECT version_id, n_rows FROM withdrawn_rows WHERE seq = ?", [withdrawal.seq])
    since = count_rows(store, withdrawal.what, withdrawal.name, after=withdrawal.seq)
    return {**{version_id: int(count) for version_id, count in noted}, **since}


def _columns(store: Store, what: str, after: int) -> Iterable[tuple[str, pa.ChunkedArray]]:
    kinds = [kind.name for kind in ROW_KINDS.values() if what in kind.schema.names]
    for (version_id,) in store.catalog.read(_VERSIONS, [kinds, after]):
        with store.collecting_forbidden():
            column = load_rows(store.objects, store.version(version_id).objects, [what]).column(what)
        yield version_id, column


def _spread(
    connection: duckdb.DuckDBPyConnection, touched: Mapping[str, str], passed_on: PassedOn
) -> dict[tuple[str, str], str]:
    """From the versions that hold the rows to all that was made from them, by the runs that made it."""
    readers: dict[tuple[str | None, str], list[tuple[str, str, str, str]]] = {}
    for run_id, step, role, asset, version_id, producer in connection.execute(_EDGES).fetchall():
        readers.setdefault((producer, version_id), []).append((run_id, step, role, asset))
    products: dict[str, list[tuple[str, str]]] = {}
    made: dict[tuple[str, str], str] = {}
    waiting: list[tuple[str | None, str]] = [(None, version_id) for version_id in sorted(touched)]
    for run_id, role, _, version_id in sorted(connection.execute(_PRODUCTS).fetchall()):
        products.setdefault(run_id, []).append((role, version_id))
        if version_id in touched:
            made[run_id, version_id] = touched[version_id]
            waiting.append((run_id, version_id))
    while waiting:
        nearest, waiting = waiting, []
        for key in nearest:
            for run_id, step, role, asset in readers.get(key, ()):
                for output, version_id in products.get(run_id, ()):
                    if role not in passed_on.get((step, output), ()) and (run_id, version_id) not in made:
                        made[run_id, version_id] = f"{AssetName.parse(asset)} is tainted"
                        waiting.append((run_id, version_id))
    return made
