"""When an event may not be applied to the catalog as it stands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from data_store.catalog.events import Event, reads_of
from data_store.results import first_row


def is_judged(event: Event) -> bool:
    """Whether `refusal` looks at the catalog for this event."""
    return event["kind"] in _CHECKS


def refusal(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    """Why the event may not be applied to the catalog as it stands, or None."""
    check = _CHECKS.get(event["kind"])
    return check(connection, event) if check else None


def _state(connection: duckdb.DuckDBPyConnection, run_id: str) -> str | None:
    found = first_row(connection, "SELECT state FROM run_state WHERE run_id = ?", [run_id])
    return None if found is None else str(found[0])


def _refuse_begun(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    run_id = event["run"]["run_id"]
    if _state(connection, run_id):
        return f"run {run_id} has already begun"
    gone = "SELECT version_id FROM current_object WHERE is_retired AND version_id IN (SELECT unnest(?::TEXT[]))"
    found = first_row(connection, gone, [reads_of(event)])
    return f"version {found[0]}, which run {run_id} reads, was removed meanwhile; start it again" if found else None


def _refuse_ended(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    state = _state(connection, event["run_id"])
    if state is None:
        return f"run {event['run_id']} has not begun"
    # A run that was given up as crashed from outside may still speak: its own word counts.
    return None if state in ("running", "crashed") else f"run {event['run_id']} has already {state}"


def _refuse_succeeded(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    run_id = event["run"]["run_id"]
    state = _state(connection, run_id)
    if state not in (None, "running", "crashed"):
        return f"run {run_id} has already {state}"
    begun = first_row(connection, "SELECT fingerprint FROM run WHERE run_id = ?", [run_id])
    if begun and begun[0] != event["run"]["fingerprint"]:
        return f"run {run_id} began with fingerprint {begun[0]} and ended with {event['run']['fingerprint']}"
    return _unmade(connection, event["inputs"])


def _unmade(connection: duckdb.DuckDBPyConnection, inputs: Sequence[dict[str, Any]]) -> str | None:
    """Why these inputs cannot be, or None."""
    for item in inputs:
        version, producer = item["version_id"], item["producer_run_id"]
        if not first_row(connection, "SELECT 1 FROM version WHERE version_id = ?", [version]):
            return f"input {item['role']!r}: version {version} of {item['asset']} is not in the catalog"
        produced = "SELECT 1 FROM run_output WHERE run_id = ? AND version_id = ?"
        if producer and not first_row(connection, produced, [producer, version]):
            return f"input {item['role']!r}: run {producer} did not write version {version}"
    return None


def _refuse_moved(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    run_id = event["run_id"]
    state = _state(connection, run_id)
    if state != "succeeded":
        return f"run {run_id} has not succeeded (state: {state}), so no head can move to it"
    for asset, version in event["heads"].items():
        wrote = "SELECT 1 FROM run_output WHERE run_id = ? AND asset_id = ? AND version_id = ?"
        if not first_row(connection, wrote, [run_id, asset, version]):
            return f"run {run_id} did not write {asset} as version {version}"
    inputs = event.get("inputs")  # older events have none
    if not inputs:
        return None
    read = connection.execute("SELECT role, version_id FROM run_input WHERE run_id = ?", [run_id]).fetchall()
    if sorted(read) != sorted((item["role"], item["version_id"]) for item in inputs):
        return f"run {run_id} did not read these versions"
    return _unmade(connection, inputs)


def _refuse_retired(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    held = "SELECT asset_id FROM current_head WHERE version_id IN (SELECT unnest(?::TEXT[]))"
    found = first_row(connection, held, [event["versions"]])
    return f"{found[0]} points to a version that was to be retired" if found else None


def _refuse_imported(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    for step in event["steps"]:
        if _state(connection, step["run"]["run_id"]):
            return f"run {step['run']['run_id']} has come into this store meanwhile; import again"
    return None


def _refuse_withdrawal(connection: duckdb.DuckDBPyConnection, event: Event) -> str | None:
    held = "SELECT 1 FROM current_withdrawal WHERE what = ? AND name = ?"
    in_force = first_row(connection, held, [event["what"], event["name"]]) is not None
    if in_force == event["in_force"]:
        return f"{event['what']} {event['name']!r} is {'already' if in_force else 'not'} withdrawn"
    return None


_CHECKS: Mapping[str, Callable[[duckdb.DuckDBPyConnection, Event], str | None]] = {
    "run_begun": _refuse_begun,
    "run_ended": _refuse_ended,
    "run_succeeded": _refuse_succeeded,
    "heads_moved": _refuse_moved,
    "run_imported": _refuse_imported,
    "versions_retired": _refuse_retired,
    "withdrawal_set": _refuse_withdrawal,
}
