"""Exports: valid OpenLineage, and Parquet that holds what the catalog holds."""

import json
import re
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from data_store.catalog.events import TABLES
from data_store.errors import InputError
from data_store.incoming.sources import register_file
from data_store.names import AssetName
from data_store.records import Metric, RunOutput, RunRecord
from data_store.rows import ROW_KINDS
from data_store.store import Store
from data_store.upkeep.export import export_openlineage, export_parquet
from tests.data_store.reading.test_preference_export import row
from tests.data_store.store_bench import Bench

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def filled(bench: Bench) -> Bench:
    register_file(bench.store, bench.files(a="1") / "a")
    rows = bench.store.publish("dataset", bench.documents("one", "two", "three"), row_kind="document")
    bench.run("filter", {"dataset/documents@base": rows}, ("source/a@external",))
    record = RunRecord("train", "V1", "f", "1", {"lr": 0.1}, 5, code_files={"tasks/train.py": "aa"})
    outputs = {"model": RunOutput(AssetName.parse("model/policy@V1"), bench.publish("w"))}
    bench.store.commit_run(record, [], outputs, [Metric("loss", 0.5), Metric("kl", float("nan"))])
    for run_id, state in (("0" * 31 + "1", "failed"), ("0" * 31 + "2", "cancelled"), ("0" * 31 + "3", None)):
        run = RunRecord("ppo", "V1", run_id, "1", {}, 0, run_id=run_id)
        bench.store.begin_run(run)
        if state:
            bench.store.finish_run(run_id, state, "loss is nan")  # type: ignore[arg-type]
    return bench


def check_base(event: dict[str, Any]) -> None:
    """What OpenLineage 2-0-2 requires of a run event, its data sets and its facets."""
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert event["producer"].startswith("urn:halter:")
    assert str(uuid.UUID(event["run"]["runId"])) == event["run"]["runId"]
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    for named in (event["job"], *event["inputs"], *event["outputs"]):
        assert named["namespace"] == "halter://demo"
        assert named["name"]
    for kind, facets_of in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for dataset in event[kind]:
            facets += [*dataset["facets"].values(), *dataset[facets_of].values()]
    for facet in facets:
        assert facet["_producer"] == event["producer"]
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/")


def test_each_run_has_one_start_and_one_end_with_the_required_fields(filled: Bench, tmp_path: Path) -> None:
    target = tmp_path / "out" / "lineage.jsonl"
    assert export_openlineage(filled.store, target, name="demo") == 9
    events = [json.loads(line) for line in target.read_text().splitlines()]
    by_run: dict[str, list[str]] = {}
    for event in events:
        check_base(event)
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert sorted(by_run.values()) == [
        *(["START"], ["START", "ABORT"], ["START", "COMPLETE"], ["START", "COMPLETE"], ["START", "FAIL"])
    ]
    times = [event["eventTime"] for event in events]
    assert times == sorted(times)
    (failed,) = [event for event in events if event["eventType"] == "FAIL"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "loss is nan"
    assert [path.name for path in target.parent.iterdir()] == ["lineage.jsonl"]  # no draft is left


def test_facets_tell_version_rows_config_and_code(filled: Bench, tmp_path: Path) -> None:
    export_openlineage(filled.store, tmp_path / "l.jsonl", name="demo")
    events = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    ended = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    (rows,) = ended["V1/filter"]["outputs"]
    head = filled.store.heads()[AssetName.parse("dataset/documents@base")]
    assert rows["name"] == "dataset/documents@base"
    assert rows["facets"]["version"]["datasetVersion"] == head.version_id
    assert rows["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert [field["name"] for field in rows["facets"]["schema"]["fields"]] == ["doc_id", "source", "text"]
    (source,) = ended["V1/filter"]["inputs"]
    told = source["facets"]["halter_version"]
    assert told["location"].endswith("/a")
    assert told["origin"] == {"kind": "file", "path": told["location"]}
    assert source["inputFacets"]["dataQualityMetrics"]["bytes"] == 1
    step = ended["V1/train"]["run"]["facets"]["halter_step"]
    assert (step["config"], step["seed"], step["code_files"]) == ({"lr": 0.1}, 5, {"tasks/train.py": "aa"})
    assert len(step["code_hash"]) == 64
    assert step["metrics"] == {"loss": 0.5}  # JSON has no NaN


@pytest.mark.slow
def test_parquet_holds_every_table_and_the_rows_of_the_heads(filled: Bench, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    written = export_parquet(filled.store, target)
    tables = {path.stem for path in written if path.parent.name == "catalog"}
    assert tables >= set(TABLES)
    for name in TABLES:
        (count,) = duckdb.sql(f"SELECT count(*) FROM '{target}/catalog/{name}.parquet'").fetchall()[0]
        assert filled.store.catalog.read(f"SELECT count(*) FROM {name}") == [(count,)], name
    head = filled.store.heads()[AssetName.parse("dataset/documents@base")]
    rows = pq.read_table(target / "rows" / "dataset" / "documents@base.parquet")
    assert rows.equals(filled.store.rows(head.version_id))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.slow
def test_what_holds_no_rows_opens_in_datasets_as_an_empty_set(bench: Bench, tmp_path: Path) -> None:
    from datasets import load_dataset

    kinds = ("document", "dropped", "preference")
    for kind in kinds:
        made = bench.store.publish("dataset", bench.rows(kind, []), row_kind=kind)
        bench.run("write", {f"dataset/{kind.replace('_', '-')}@base": made})
        assert len(bench.store.dataset(made.version_id)) == 0
    files = [path for path in export_parquet(bench.store, tmp_path / "copy") if path.parent.name == "dataset"]
    assert len(files) == len(kinds)
    for path in files:
        # without streaming `datasets` 5.2 opens no set of 0 rows, whatever wrote it
        read = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        kind = ROW_KINDS[path.name.partition("@")[0].replace("-", "_")]
        assert (list(read), pq.read_table(path).schema.names) == ([], kind.schema.names)
        assert duckdb.sql(f"FROM '{path}'").fetchall() == []


@pytest.mark.slow
def test_the_examples_of_the_page_run(filled: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "export.md").read_text()
    monkeypatch.chdir(tmp_path)
    export_parquet(filled.store, tmp_path / "catalog-copy")
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert sorted(row[:3] for row in duckdb.sql(sql).fetchall()) == [("train", "V1", name) for name in ("kl", "loss")]
    about = page[page.index("## Parquet") : page.index("## OpenLineage")]
    named = set(re.findall(r"`(?:catalog/)?([a-z]+(?:_[a-z]+)?)(?:\.parquet)?`", about))
    files = {path.stem for path in (tmp_path / "catalog-copy" / "catalog").iterdir()}
    assert {"current_object", "run_output", "version_object", "runs"} <= named & files
    (python,) = re.findall(r"## In Python\n\n```python\n(.*?)```", page, re.DOTALL)
    rows = [row(0)]
    made = filled.store.publish("dataset", filled.rows("preference", rows), row_kind="preference")
    filled.run("collect", {"dataset/preferences@V2": made})
    (tmp_path / "halter-store").mkdir()
    (tmp_path / "halter-store" / "demo").symlink_to(filled.store.root)
    scope: dict[str, Any] = {"Path": Path, "Store": Store, "AssetName": AssetName}
    exec(compile(python.replace("store.dataset(", "found = store.dataset(", 1), "docs/export.md", "exec"), scope)
    assert scope["found"]["preference_id"] == [rows[0]["preference_id"]]


def test_no_export_overwrites_a_folder_or_goes_into_the_store(filled: Bench, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="absent or empty"):
        export_parquet(filled.store, tmp_path / "full")
    with pytest.raises(InputError, match="lies inside the store"):
        export_parquet(filled.store, filled.store.root / "objects")
    with pytest.raises(InputError, match="is a folder"):
        export_openlineage(filled.store, tmp_path / "full", name="demo")
    (tmp_path / "empty").mkdir()
    assert export_parquet(filled.store, tmp_path / "empty")
