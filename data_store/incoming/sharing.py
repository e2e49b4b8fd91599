"""Finished runs of other stores as runs of this one: what was computed for one variant of a study is not computed again
for the next.

A run is found by its fingerprint, which covers step, version, part, config, seed, the content of all inputs and the
names of the outputs. It comes with its id, its record, its code and its metrics, so that lineage says who made it, when
and where; what it read is said in the words of this store. Its files are linked, not copied, where the file system can.
"""

import uuid
from collections.abc import Iterable, Sequence

from data_store.catalog import events
from data_store.errors import InputError
from data_store.records import FinishedRun, ImportedStep, LineageEdge, RunInput, VersionInfo
from data_store.store import Store


def share_finished(store: Store, others: Iterable[Store], fingerprint: str, inputs: Sequence[RunInput]) -> Store | None:
    """Take a finished run with this fingerprint from the first of the other stores that has one with all its content,
    and let the heads point to what it made. Gives that store; None where none has one, or this store has one itself.

    inputs: what the run reads, as this store names it. Nothing in the other store changes. Raises StoreError for an
    object that is damaged there.
    """
    if store.find_finished(fingerprint) is not None:
        return None
    for other in others:
        with store.collecting_forbidden(), other.collecting_forbidden():
            finished = other.find_finished(fingerprint)
            if finished is not None:
                _take(store, other, finished, inputs)
                return other
    return None


def computed_here(store: Store) -> set[str]:
    """The runs that this store's own processes have computed; those that came from another store never began here."""
    sql = "SELECT DISTINCT run_id FROM run_event WHERE state = 'running'"
    return {str(run_id) for (run_id,) in store.catalog.read(sql)}


def _take(store: Store, other: Store, finished: FinishedRun, inputs: Sequence[RunInput]) -> None:
    run_id = finished.run_id
    versions = [other.version(version_id) for _, version_id in finished.outputs.values()]
    for version in versions:
        _link(store, other, version)
    (summary,) = other.runs(run_id=run_id)
    reads = [LineageEdge(run_id, "input", i.role, i.asset, i.version_id, i.producer_run_id) for i in inputs]
    writes = [LineageEdge(run_id, "output", role, *made, None) for role, made in finished.outputs.items()]
    step = ImportedStep(summary.run, finished.finished_at, tuple(reads), tuple(writes), tuple(finished.metrics))
    # where the run is known here, it is its content that had gone
    steps = [] if store.runs(run_id=run_id) else [step]
    heads = {asset: (version_id, run_id) for asset, version_id in finished.outputs.values()}
    try:
        store.catalog.write(events.run_imported(f"run {other.root.name}", versions, steps, heads))
    except InputError:
        if store.find_finished(summary.run.fingerprint) is None:
            raise  # else another process of the same run was quicker


def _link(store: Store, other: Store, version: VersionInfo) -> None:
    for ref in version.objects:
        if store.objects.is_sound(ref.sha256):
            continue
        draft = store.root / "tmp" / f"{uuid.uuid4().hex}.shared"
        try:
            other.objects.link(ref.sha256, draft)
            store.objects.put_file(draft, consume=True)
        finally:
            draft.unlink(missing_ok=True)
