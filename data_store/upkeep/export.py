"""Copies of the catalog for other tools: OpenLineage run events, and Parquet files of all tables and current rows.

They are exports: nothing here is read back. Each is written beside its target and renamed, so it is there whole or not
at all. OpenLineage: specification 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

import importlib.metadata
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.catalog import runs
from data_store.catalog.events import TABLES
from data_store.catalog.query_views import VIEWS
from data_store.content.rowsets import ROWS_FILE
from data_store.encoding import content_hash
from data_store.errors import InputError
from data_store.files import remove_tree, sync_folder
from data_store.records import LineageEdge, RunSummary, VersionInfo
from data_store.results import arrow_table
from data_store.rows import ROW_KINDS
from data_store.store import Store

_SPEC = "https://openlineage.io/spec"
_EVENT_SCHEMA = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_ENDS = {"succeeded": "COMPLETE", "failed": "FAIL", "crashed": "FAIL", "cancelled": "ABORT"}

Json = dict[str, Any]

_OWN_VIEWS = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name"


def export_parquet(store: Store, target: Path) -> list[Path]:
    """Write `catalog/<table>.parquet`, the same for the views of `halter query`, and for the heads that are rows
    `rows/<kind>/<name>@<part>.parquet`.

    Gives the files below `target`. Raises InputError when `target` is a file or a folder with something in it, or lies
    in the store.
    """
    with new_folder(store, target) as draft:
        _write_tables(store, draft / "catalog")
        _write_rows(store, draft / "rows")
    return sorted(path for path in target.absolute().rglob("*.parquet"))


@contextmanager
def new_folder(store: Store, target: Path) -> Iterator[Path]:
    """A draft beside `target`, to be filled; where the block ends well it is flushed and becomes `target`.

    Raises InputError when `target` is a file or a folder with something in it, or lies in the store.
    """
    target = _outside(store, target)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target} exists already; give a folder that is absent or empty")
    draft = _draft(target)
    draft.mkdir()
    try:
        yield draft
        for base, _, names in os.walk(draft):
            for name in names:
                _sync_file(Path(base, name))
            sync_folder(Path(base))
        draft.rename(target)
        sync_folder(target.parent)
    finally:
        if draft.exists():
            remove_tree(draft)


def export_openlineage(store: Store, target: Path, *, name: str) -> int:
    """Write every run of the store as OpenLineage events, one JSON text a line, in order of time; gives their number.

    name: of the run that the store belongs to, the end of the namespace of its jobs and data sets. A file that is there
    is replaced. Raises InputError when `target` is a folder or lies in the store.
    """
    target = _outside(store, target)
    if target.is_dir():
        raise InputError(f"{target} is a folder; give a file, such as lineage.jsonl")
    draft = _draft(target)
    count = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            for event in openlineage_events(store, name):
                file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
                count += 1
        _sync_file(draft)
        draft.replace(target)
        sync_folder(target.parent)
    finally:
        draft.unlink(missing_ok=True)
    return count


def openlineage_events(store: Store, name: str) -> list[Json]:
    """A START event for each run and, once it has ended, one COMPLETE, FAIL or ABORT, in order of time."""
    with store.catalog.reading() as connection:
        summaries = runs.read_runs(connection, "TRUE", [])
        found = runs.read_edges(connection, [summary.run.run_id for summary in summaries])
        ids = {edge.version_id for edge in found}
        versions = {identity: runs.read_version(connection, identity) for identity in sorted(ids)}
        origins = runs.read_origins(connection)
    writer = _Events(f"halter://{name}", {key: info for key, info in versions.items() if info}, origins)
    edges = {run_id: list(each) for run_id, each in groupby(found, key=lambda edge: edge.run_id)}
    told = [event for summary in summaries for event in writer.of_run(summary, edges.get(summary.run.run_id, ()))]
    return sorted(told, key=lambda event: (str(event["eventTime"]), event["eventType"] != "START"))


class _Events:
    """The events of one store."""

    def __init__(
        self,
        namespace: str,
        versions: Mapping[str, VersionInfo],
        origins: Mapping[tuple[str, str], Mapping[str, str]],
    ) -> None:
        self.namespace = namespace
        self.versions = versions
        self.origins = origins
        self.producer = f"urn:halter:{importlib.metadata.version('halter')}"

    def of_run(self, summary: RunSummary, edges: Iterable[LineageEdge]) -> Iterator[Json]:
        """START and, once the run has ended, its end."""
        inputs = [self._input(edge) for edge in edges if edge.direction == "input"]
        outputs = [self._output(edge) for edge in edges if edge.direction == "output"]
        yield self._event("START", summary.run.started_at, summary, inputs, outputs)
        if summary.finished_at is not None:
            yield self._event(_ENDS[summary.state], summary.finished_at, summary, inputs, outputs)

    def _event(self, kind: str, at: datetime, summary: RunSummary, inputs: list[Json], outputs: list[Json]) -> Json:
        run = summary.run
        facets = {"halter_step": self._custom("RunFacet", **self._step(summary))}
        if kind in ("FAIL", "ABORT"):
            message = summary.detail or summary.state
            facets["errorMessage"] = self._facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
        job_type = {"processingType": "BATCH", "integration": "HALTER", "jobType": "STEP"}
        return {
            "eventType": kind,
            "eventTime": at.isoformat(timespec="microseconds"),
            "run": {"runId": _uuid(run.run_id), "facets": facets},
            "job": {
                "namespace": self.namespace,
                "name": f"{run.part}/{run.step}",
                "facets": {"jobType": self._facet("JobTypeJobFacet", **job_type)},
            },
            "inputs": inputs,
            "outputs": outputs if kind == "COMPLETE" else [],
            "producer": self.producer,
            "schemaURL": _EVENT_SCHEMA,
        }

    def _step(self, summary: RunSummary) -> Json:
        """What decided the run's outputs, and what it measured. Numbers that JSON lacks are left out."""
        run = asdict(summary.run)
        chosen = ("step", "part", "attempt", "fingerprint", "seed", "config", "code_version", "git_commit", "git_dirty")
        metrics = {key: value for key, value in summary.metrics.items() if abs(value) < float("inf")}
        code = {"code_hash": content_hash(dict(run["code_files"])), "code_files": run["code_files"], "env": run["env"]}
        return {**{key: run[key] for key in chosen}, **code, "metrics": metrics}

    def _input(self, edge: LineageEdge) -> Json:
        version = self.versions[edge.version_id]
        measured: Json = {"bytes": version.bytes, "fileCount": len(version.objects), "columnMetrics": {}}
        if version.n_rows is not None:
            measured["rowCount"] = version.n_rows
        facet = self._facet("DataQualityMetricsInputDatasetFacet", **measured)
        return {**self._dataset(edge, version), "inputFacets": {"dataQualityMetrics": facet}}

    def _output(self, edge: LineageEdge) -> Json:
        version = self.versions[edge.version_id]
        facets = {}
        if version.n_rows is not None:  # OpenLineage counts rows, not files
            facets["outputStatistics"] = self._facet(
                "OutputStatisticsOutputDatasetFacet", rowCount=version.n_rows, size=version.bytes
            )
        return {**self._dataset(edge, version), "outputFacets": facets}

    def _dataset(self, edge: LineageEdge, version: VersionInfo) -> Json:
        """The data set under the asset's name: its version, its columns, and what else is known of its content."""
        ours: Json = {"role": edge.role, "set_hash": version.set_hash, "bytes": version.bytes, "rows": version.n_rows}
        if edge.producer_run_id:
            ours["made_by_run"] = _uuid(edge.producer_run_id)
        if origin := self.origins.get((str(edge.asset), edge.version_id)):
            ours["location"] = origin["location"]
            ours["origin"] = {fact: value for fact, value in origin.items() if fact != "location"}
        facets = {
            "version": self._facet("DatasetVersionDatasetFacet", datasetVersion=version.version_id),
            "halter_version": self._custom("DatasetFacet", **ours),
        }
        if version.row_kind is not None and version.row_kind in ROW_KINDS:
            fields = [{"name": field.name, "type": str(field.type)} for field in ROW_KINDS[version.row_kind].schema]
            facets["schema"] = self._facet("SchemaDatasetFacet", fields=fields)
        return {"namespace": self.namespace, "name": str(edge.asset), "facets": facets}

    def _facet(self, kind: str, **content: Any) -> Json:
        """One of OpenLineage's own facets."""
        schema = f"{_SPEC}/facets/{_FACETS[kind]}/{kind}.json#/$defs/{kind}"
        return {"_producer": self.producer, "_schemaURL": schema, **content}

    def _custom(self, base: str, **content: Any) -> Json:
        """A facet of ours; what it holds beyond the base facet is described in docs/export.md."""
        return {
            "_producer": self.producer,
            "_schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/{base}",
            **content,
        }


# The versions of the facets whose fields are written here.
_FACETS = {
    "DataQualityMetricsInputDatasetFacet": "1-0-2",
    "DatasetVersionDatasetFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-3",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "SchemaDatasetFacet": "1-1-1",
}


def _uuid(run_id: str) -> str:
    """OpenLineage wants a UUID: ours are its 32 digits; any other text gets one made of it."""
    try:
        return str(uuid.UUID(hex=run_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"halter:run:{run_id}"))


def _write_tables(store: Store, folder: Path) -> None:
    folder.mkdir(parents=True)
    with store.catalog.reading() as connection:
        own = [name for (name,) in connection.execute(_OWN_VIEWS).fetchall()]
        for name, sql in {**{table: f"FROM {table}" for table in (*TABLES, *own)}, **VIEWS}.items():
            _write_parquet(arrow_table(connection, sql), folder / f"{name}.parquet")


def _write_rows(store: Store, folder: Path) -> None:
    folder.mkdir(parents=True)
    for asset, head in store.heads().items():
        if store.version(head.version_id).row_kind is not None:
            place = folder / asset.kind
            place.mkdir(exist_ok=True)
            rows, copy = store.checkout(head.version_id) / ROWS_FILE, place / f"{asset.name}@{asset.part}.parquet"
            if pq.read_metadata(rows).num_rows:
                shutil.copyfile(rows, copy)
            else:
                _write_parquet(pq.read_table(rows), copy)


def _write_parquet(table: pa.Table, path: Path) -> None:
    """Where there are no rows there is no row group either: `datasets` reads batches as large as the first one, and
    fails where that is of 0."""
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        if len(table):
            writer.write_table(table)


def _outside(store: Store, target: Path) -> Path:
    """The target, made absolute; its folder is made where it is absent."""
    target = target.absolute()
    if target.resolve().is_relative_to(store.root.resolve()):
        raise InputError(f"{target} lies inside the store; give a place elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
