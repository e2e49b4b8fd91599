"""The events of the catalog: how each is written, and which rows it adds (`refusals.py`: when it may not be applied).

An event is one transaction. It says what happened in words of its own, not in rows, so that the same journal can be
projected into a later schema. `project` is a pure function of the event and its number in the journal.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from data_store.catalog.metric_facts import facts_of_metrics, rows_of_metrics
from data_store.catalog.older_origins import facts_in
from data_store.catalog.origins import COLUMNS, Origin, columns_of, facts_of
from data_store.encoding import canonical_json, text_hash
from data_store.names import AssetName
from data_store.records import (
    PROCESSOR_SECONDS,
    ImportedStep,
    LineageEdge,
    Metric,
    ObjectRef,
    Publication,
    RunInput,
    RunOutput,
    RunRecord,
    VersionInfo,
    now,
)

EVENT_FORMAT = 2
_FIRST_FORMAT = 1

Event = dict[str, Any]
Rows = dict[str, list[tuple[Any, ...]]]

# (columns, whether the same row may come again): the order of the columns is the order of the values in `project`.
TABLES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "asset": (("asset_id", "kind", "name", "part"), True),
    "object": (("sha256", "bytes"), True),
    "version": (
        ("version_id", "kind", "row_kind", "set_hash", "schema_hash", "n_rows", "bytes", "parent_id", "created_at"),
        True,
    ),
    "version_object": (("version_id", "seq", "path", "sha256", "bytes", "role"), True),
    "retired": (("version_id", "seq", "ts", "reason"), False),
    "source": (("seq", "asset_id", "version_id", "location", "ts"), False),
    "origin": (("seq", *COLUMNS), False),
    "run": (
        (
            *("run_id", "step", "part", "attempt", "fingerprint", "code_version", "git_commit", "git_dirty"),
            *("config_hash", "config", "seed", "env_hash", "env"),
            *("prefect_flow_run_id", "prefect_task_run_id", "prefect_root_flow_run_id", "host", "started_at"),
        ),
        True,
    ),
    "run_code": (("run_id", "path", "sha256"), True),
    "run_event": (("run_id", "seq", "state", "ts", "detail"), False),
    "run_input": (("run_id", "role", "asset_id", "version_id", "producer_run_id"), False),
    "run_output": (("run_id", "role", "asset_id", "version_id"), False),
    "head": (("asset_id", "seq", "version_id", "run_id", "ts", "reason"), False),
    "metric": (("run_id", "name", "step", "value"), False),
    "estimate": (("run_id", "name", "n", "low", "high", "judge"), False),
    "run_read": (("run_id", "version_id"), True),
    "config_override": (("seq", "part", "step", "name", "value_json", "ts"), False),
    "withdrawal": (("seq", "what", "name", "in_force", "reason", "ts"), False),
    "withdrawn_rows": (("seq", "version_id", "n_rows"), False),
    "run_input_again": (("run_id", "seq", "role", "asset_id", "version_id", "producer_run_id"), False),
    "applied_event": (("event_id", "seq", "prev", "sha256", "outcome"), False),
}


def _time(moment: datetime) -> str:
    """UTC without a zone, to the microsecond: one text form for the journal and for both databases."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _event(kind: str, **payload: Any) -> Event:
    # The format is the oldest that knows this kind of event, so that an older halter reads all it can understand.
    later = kind in ("run_imported", "withdrawal_set") or (kind == "heads_moved" and payload["inputs"])
    spoken = EVENT_FORMAT if later else _FIRST_FORMAT
    return {"event_id": uuid.uuid4().hex, "format": spoken, "kind": kind, "at": _time(now()), **payload}


def _run(run: RunRecord) -> dict[str, Any]:
    return {**asdict(run), "started_at": _time(run.started_at)}


def _inputs(inputs: Sequence[RunInput]) -> list[dict[str, Any]]:
    return [
        {"role": i.role, "asset": str(i.asset), "version_id": i.version_id, "producer_run_id": i.producer_run_id}
        for i in inputs
    ]


def run_begun(run: RunRecord, reads: Iterable[str]) -> Event:
    """A run has started and reads these versions; should its process die, this is what remains visible."""
    return _event("run_begun", run=_run(run), reads=sorted(set(reads)))


def run_ended(run_id: str, state: str, detail: str, spent: float | None = None) -> Event:
    """A run has ended without outputs, after so many processor seconds where they are known."""
    known = {} if spent is None else facts_of_metrics([Metric(PROCESSOR_SECONDS, spent)])
    return _event("run_ended", run_id=run_id, state=state, detail=detail, **known)


def run_succeeded(
    run: RunRecord,
    inputs: Sequence[RunInput],
    outputs: Mapping[str, RunOutput],
    metrics: Iterable[Metric],
    reason: str,
) -> Event:
    """A run has ended well: its edges, its versions, the heads it moves and its metrics, all in one."""
    return _event(
        "run_succeeded",
        run=_run(run),
        inputs=_inputs(inputs),
        outputs=[
            {"role": role, "asset": str(output.asset), "publication": asdict(output.publication)}
            for role, output in sorted(outputs.items())
        ],
        **facts_of_metrics(metrics),
        reason=reason,
    )


def heads_moved(run_id: str, heads: Mapping[AssetName, str], reason: str, inputs: Sequence[RunInput] = ()) -> Event:
    """A finished run is taken up again: the heads point to what it wrote. `inputs`: the versions that it read, where
    other runs have made them since."""
    moved = {str(a): v for a, v in heads.items()}
    return _event("heads_moved", run_id=run_id, heads=moved, reason=reason, inputs=_inputs(inputs))


def source_registered(asset: AssetName, publication: Publication, origin: Origin) -> Event:
    """What came from outside is an input from now on. Raises ValueError for an origin that no journal may hold."""
    facts = facts_of(origin)
    # The sentence stands beside the facts, for an older halter that knows no others.
    return _event(
        "source_registered",
        asset=str(asset),
        publication=asdict(publication),
        location=str(origin),
        origin=facts,
    )


def run_imported(
    origin: str,
    versions: Iterable[VersionInfo],
    steps: Iterable[ImportedStep],
    heads: Mapping[AssetName, tuple[str, str | None]],
) -> Event:
    """What another store knows of its current versions: the finished steps behind them, in order, and where the heads
    point, as asset -> (version, run). `origin` names that store; all of it goes in or nothing.
    """
    return _event(
        "run_imported",
        origin=origin,
        versions=[
            {**asdict(Publication.of(info)), "created_at": _time(info.created_at)}
            for info in sorted(versions, key=lambda info: info.version_id)
        ],
        steps=[
            {
                "run": _run(step.run),
                "finished_at": _time(step.finished_at),
                "inputs": [_edge(edge) for edge in step.inputs],
                "outputs": [_edge(edge) for edge in step.outputs],
                **facts_of_metrics(step.metrics),
            }
            for step in steps
        ],
        heads=[[str(asset), version, run_id] for asset, (version, run_id) in sorted(heads.items())],
    )


def _edge(edge: LineageEdge) -> dict[str, Any]:
    role, asset = edge.role, str(edge.asset)
    return {"role": role, "asset": asset, "version_id": edge.version_id, "producer_run_id": edge.producer_run_id}


def versions_retired(versions: Sequence[str], reason: str) -> Event:
    """The content of superseded versions is about to be removed; what is known of them stays."""
    return _event("versions_retired", versions=sorted(versions), reason=reason)


def override_set(part: str, step: str, name: str, value_json: str | None) -> Event:
    """A config value is set for one step of one part; None takes it back."""
    return _event("override_set", part=part, step=step, name=name, value_json=value_json)


def withdrawal_set(what: str, name: str, in_force: bool, reason: str, holding: Mapping[str, int]) -> Event:
    """The rows of an annotator or of a source are withdrawn, or (`in_force` False) may be used again. `holding`: how
    many of them each version holds now."""
    return _event(
        "withdrawal_set", what=what, name=name, in_force=in_force, reason=reason, holding=dict(sorted(holding.items()))
    )


def reads_of(event: Event) -> list[str]:
    """What a begun run reads; events of before it was written down say nothing."""
    return list(event.get("reads", ()))


def project(event: Event, seq: int) -> Rows:
    """The rows that an applied event adds, by table; `seq` is its number in the journal."""
    rows: Rows = {}
    _PROJECTIONS[event["kind"]](event, seq, rows)
    return rows


def _add(rows: Rows, table: str, *values: Any) -> None:
    rows.setdefault(table, []).append(values)


def _add_asset(rows: Rows, text: str) -> None:
    asset = AssetName.parse(text)
    _add(rows, "asset", text, asset.kind, asset.name, asset.part)


def _add_publication(rows: Rows, publication: dict[str, Any], seq: int, at: str) -> None:
    p = publication
    version = (p["version_id"], p["kind"], p["row_kind"], p["set_hash"], p["schema_hash"], p["n_rows"], p["bytes"])
    _add(rows, "version", *version, p["parent"], at)
    for item in p["objects"]:
        ref = ObjectRef(**item)
        if ref.role != "external":
            _add(rows, "object", ref.sha256, ref.bytes)
        _add(rows, "version_object", p["version_id"], seq, ref.path, ref.sha256, ref.bytes, ref.role)


def _add_run(rows: Rows, run: dict[str, Any]) -> None:
    config, env = canonical_json(run["config"]), canonical_json(run["env"])
    plain = {**run, "config": config, "config_hash": text_hash(config), "env": env, "env_hash": text_hash(env)}
    _add(rows, "run", *(plain[column] for column in TABLES["run"][0]))
    for path, sha256 in sorted(run["code_files"].items()):
        _add(rows, "run_code", run["run_id"], path, sha256)


def _add_metrics(rows: Rows, run_id: str, said: dict[str, Any]) -> None:
    for table, values in rows_of_metrics(run_id, said):
        _add(rows, table, *values)


def _project_begun(event: Event, seq: int, rows: Rows) -> None:
    _add_run(rows, event["run"])
    _add(rows, "run_event", event["run"]["run_id"], seq, "running", event["run"]["started_at"], "")
    for version_id in reads_of(event):
        _add(rows, "run_read", event["run"]["run_id"], version_id)


def _project_ended(event: Event, seq: int, rows: Rows) -> None:
    _add(rows, "run_event", event["run_id"], seq, event["state"], event["at"], event["detail"])
    if event["state"] != "crashed":  # which others say of a run that may speak for itself yet
        _add_metrics(rows, event["run_id"], {"metrics": (), **event})


def _project_succeeded(event: Event, seq: int, rows: Rows) -> None:
    run_id, at = event["run"]["run_id"], event["at"]
    _add_run(rows, event["run"])
    _add(rows, "run_event", run_id, seq, "succeeded", at, "")
    for item in event["inputs"]:
        _add_asset(rows, item["asset"])
        _add(rows, "run_input", run_id, item["role"], item["asset"], item["version_id"], item["producer_run_id"])
    for item in event["outputs"]:
        version_id = item["publication"]["version_id"]
        _add_asset(rows, item["asset"])
        _add_publication(rows, item["publication"], seq, at)
        _add(rows, "run_output", run_id, item["role"], item["asset"], version_id)
        _add(rows, "head", item["asset"], seq, version_id, run_id, at, event["reason"])
    _add_metrics(rows, run_id, event)


def _project_moved(event: Event, seq: int, rows: Rows) -> None:
    for asset, version_id in event["heads"].items():
        _add(rows, "head", asset, seq, version_id, event["run_id"], event["at"], event["reason"])
    for item in event.get("inputs", ()):
        again = (item["role"], item["asset"], item["version_id"], item["producer_run_id"])
        _add_asset(rows, item["asset"])
        _add(rows, "run_input_again", event["run_id"], seq, *again)


def _project_source(event: Event, seq: int, rows: Rows) -> None:
    asset, version_id, at = event["asset"], event["publication"]["version_id"], event["at"]
    _add_asset(rows, asset)
    _add_publication(rows, event["publication"], seq, at)
    facts = event["origin"] if "origin" in event else facts_in(AssetName.parse(asset), event["location"])
    _add(rows, "source", seq, asset, version_id, event["location"], at)
    if any(columns := columns_of(facts)):
        _add(rows, "origin", seq, *columns)
    _add(rows, "head", asset, seq, version_id, None, at, f"registered from {event['location']}")


def _project_imported(event: Event, seq: int, rows: Rows) -> None:
    for version in event["versions"]:
        _add_publication(rows, version, seq, version["created_at"])
    for step in event["steps"]:
        run_id = step["run"]["run_id"]
        _add_run(rows, step["run"])
        _add(rows, "run_event", run_id, seq, "succeeded", step["finished_at"], "")
        for item in step["inputs"]:
            _add_asset(rows, item["asset"])
            _add(rows, "run_input", run_id, item["role"], item["asset"], item["version_id"], item["producer_run_id"])
        for item in step["outputs"]:
            _add_asset(rows, item["asset"])
            _add(rows, "run_output", run_id, item["role"], item["asset"], item["version_id"])
        _add_metrics(rows, run_id, step)
    for asset, version_id, run_id in event["heads"]:
        _add_asset(rows, asset)
        _add(rows, "head", asset, seq, version_id, run_id, event["at"], f"imported from {event['origin']}")


def _project_retired(event: Event, seq: int, rows: Rows) -> None:
    for version_id in event["versions"]:
        _add(rows, "retired", version_id, seq, event["at"], event["reason"])


def _project_override(event: Event, seq: int, rows: Rows) -> None:
    values = (event["part"], event["step"], event["name"], event["value_json"])
    _add(rows, "config_override", seq, *values, event["at"])


def _project_withdrawal(event: Event, seq: int, rows: Rows) -> None:
    values = (event["what"], event["name"], event["in_force"], event["reason"])
    _add(rows, "withdrawal", seq, *values, event["at"])
    for version_id, count in event["holding"].items():
        _add(rows, "withdrawn_rows", seq, version_id, count)


_PROJECTIONS: Mapping[str, Callable[[Event, int, Rows], None]] = {
    "run_begun": _project_begun,
    "run_ended": _project_ended,
    "run_succeeded": _project_succeeded,
    "heads_moved": _project_moved,
    "source_registered": _project_source,
    "run_imported": _project_imported,
    "versions_retired": _project_retired,
    "override_set": _project_override,
    "withdrawal_set": _project_withdrawal,
}
