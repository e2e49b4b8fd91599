"""What the journal of a stranger's store may say, event by event."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from data_store.catalog.journal import Entry
from data_store.catalog.origins import AdoptedOrigin
from data_store.errors import StoreError
from data_store.incoming.sources import register, register_file
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.foreign_events import check_entry
from tests.data_store.forged import renamed_file
from tests.data_store.store_bench import Bench

POLICY = AssetName.parse("model/policy@V1")
ROWS = AssetName.parse("dataset/documents@base")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """The third entry of a journal: a run that has read one version and written a model of one file."""
    bench = Bench(Store.open(tmp_path_factory.mktemp("trained") / "store"), tmp_path_factory.mktemp("work"))
    register_file(bench.store, bench.files(a="1") / "a")
    bench.run("filter", {str(ROWS): "rows"}, ("source/a@external",))
    bench.run("train", {str(POLICY): "weights"}, (str(ROWS),))
    entry = list(bench.store.catalog.journal.whole())[2]
    check_entry(entry, "as it was written")
    return entry


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """An entry of a journal: something of another run has come in."""
    bench = Bench(Store.open(tmp_path_factory.mktemp("adopted") / "store"), tmp_path_factory.mktemp("picks"))
    origin = AdoptedOrigin("big", "dataset/picks@V1", "0" * 64, "r1")
    register(bench.store, AssetName("source", "taken", "external"), bench.publish("picks"), origin)
    (entry,) = bench.store.catalog.journal.whole()
    check_entry(entry, "as it was written")
    return entry


ODD_PATHS = (
    *("a/../../../../beside.txt", "/beside", "a//b", "./a", "a/.", "..", "", "a\nbeside", "a\x1b[2Jbeside", "a\\b"),
    *("b" * 256, "a/" * 600 + "a", "a\0b"),
)


@pytest.mark.parametrize("path", ODD_PATHS)
def test_an_odd_path_is_refused(trained: Entry, path: str) -> None:
    event = copy.deepcopy(trained.event)
    renamed_file(path)(event)
    with pytest.raises(StoreError, match=r"objects\.0\.path"):
        check_entry(replace(trained, event=event), "there")


@pytest.mark.parametrize("path", ["ein Öl.txt", "데이터.jsonl", "a/b.c/..d", "weights (1).safetensors"])
def test_a_name_that_people_give_passes(trained: Entry, path: str) -> None:
    event = copy.deepcopy(trained.event)
    renamed_file(path)(event)
    check_entry(replace(trained, event=event), "there")


@pytest.mark.parametrize(
    ("where", "hashes"),
    [
        *(("run.run_id", False), ("run.fingerprint", False), ("run.step", False), ("run.part", False)),
        *(("outputs.0.publication.version_id", True), ("outputs.0.publication.set_hash", True)),
        *(("outputs.0.publication.schema_hash", True), ("outputs.0.publication.objects.0.sha256", True)),
        *(("inputs.0.version_id", True), ("inputs.0.producer_run_id", False), ("event_id", False)),
    ],
)
@pytest.mark.parametrize("odd", ["../../../beside", "beside\n", "", "é" * 64, "A" * 63 + "/", "beside" * 50, 7])
def test_ids_are_hashes_and_names_are_words(trained: Entry, where: str, hashes: bool, odd: object) -> None:
    event = copy.deepcopy(trained.event)
    *path, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    place: Any = event
    for part in path:
        place = place[part]
    for value in (odd, *(["0" * 63, "A" * 64, "0" * 65] if hashes else [])):
        place[last] = value
        with pytest.raises(StoreError, match=re.escape(f"run_succeeded.{where}")):
            check_entry(replace(trained, event=event), "there")


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.update(kind="run_exec"),
        lambda event: event.pop("outputs"),
        lambda event: event["run"].update(seed=2**70),
        lambda event: event["run"].update(config=["no", "keys"]),
        lambda event: event.update(at="yesterday"),
        lambda event: event.update(metrics=[["loss", 1, "__import__"]]),
        lambda event: event["outputs"][0].update(asset="model/../../beside@V1"),
        lambda event: event["outputs"][0]["publication"].update(row_kind="beside"),
        lambda event: event["outputs"][0]["publication"].update(kind="../beside"),
        lambda event: event["outputs"][0]["publication"].update(bytes=-1),
        lambda event: event["outputs"][0]["publication"].update(objects=[]),
    ],
)
def test_what_no_halter_writes_is_refused_in_one_sentence(
    trained: Entry, change: Callable[[dict[str, Any]], None]
) -> None:
    event = copy.deepcopy(trained.event)
    change(event)
    with pytest.raises(StoreError, match="event 3: "):
        check_entry(replace(trained, event=event), "there")


@pytest.mark.parametrize(
    ("fact", "odd"),
    [
        *(("run", "../beside"), ("run", ".."), ("run", "a/beside"), ("from_asset", "dataset/../../beside@V1")),
        *(("from_version", "../../../beside"), ("from_version", "0" * 63), ("made_by", "../beside"), ("kind", "odd")),
    ],
)
def test_where_a_source_came_from_leads_nowhere_else(adopted: Entry, fact: str, odd: str) -> None:
    event = copy.deepcopy(adopted.event)
    event["origin"][fact] = odd
    with pytest.raises(StoreError, match=r"there, event 1: source_registered\.origin: "):
        check_entry(replace(adopted, event=event), "there")


def test_an_older_event_has_no_origin_and_none_has_half_of_one(adopted: Entry) -> None:
    event = copy.deepcopy(adopted.event)
    del event["origin"]
    check_entry(replace(adopted, event=event), "there")
    for odd in ({}, None, "big", {"kind": "adopted"}):
        with pytest.raises(StoreError, match=r"source_registered\.origin: "):
            check_entry(replace(adopted, event=event | {"origin": odd}), "there")
