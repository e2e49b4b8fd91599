"""One door for what comes from outside: it becomes a source that says where it came from, in facts and in words."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_store.annotation.red_team_export import hand_over_attacks
from data_store.catalog.journal import APPLIED, START, Entry
from data_store.catalog.origins import COLUMNS, AdoptedOrigin, FileOrigin, JudgedOrigin, Origin
from data_store.errors import InputError, StoreError
from data_store.incoming.adoption import adopted_from
from data_store.incoming.answers import EndpointAnswer, register_answers
from data_store.incoming.intakes import Intake, TakenFile, write_intake
from data_store.incoming.sources import register, register_file, register_rows
from data_store.names import AssetName
from data_store.rows import ROW_KINDS
from data_store.store import Store
from tests.data_store.fixture_store import STORES, unpack
from tests.data_store.store_bench import Bench

ROOT = Path(__file__).parents[3]
TAKEN = AssetName("source", "taken", "external")
FROM_BIG = AdoptedOrigin("big", "dataset/picks@V1", "a" * 64, "b" * 32)
FACTS_OF_BIG = {
    "kind": "adopted",
    "run": "big",
    "from_asset": "dataset/picks@V1",
    "from_version": "a" * 64,
    "made_by": "b" * 32,
}
# As a halter of schema 5 wrote it, of a file of one byte.
OLDER_EVENT = """
{"asset":"source/big-picks-v1@external","at":"2026-11-28T19:58:23.801493","event_id":"03c6fa18a26142b08b2f707bc56f0ea0",
"format":1,"kind":"source_registered","location":"run big: dataset/picks@V1 version
 0e6c0b2e4a947fd9db869f061b321c522a2a44ee86251741b940c006c888bf05, made by its run b8fcec76dee24b0badfc6a7acad72b91",
"publication":{"bytes":5,"kind":"model","n_rows":null,"new_bytes":5,"objects":[{"bytes":5,"path":"weights",
"role":"file","sha256":"e2fa544f1c0634380bf56b3560a2e294fda360d9a5c2727d05c46e625352031e"}],"parent":null,
"row_kind":null,"schema_hash":"91a45b47d711fd4da1338ea030d4133b7d55714ea177e56a2376db7ed71ac092",
"set_hash":"c32049ed9eb65e70f090db27b0b529f01ffaba465b731f2423956d34df31c677",
"version_id":"0e6c0b2e4a947fd9db869f061b321c522a2a44ee86251741b940c006c888bf05"}}""".replace("\n", "")


def sources(store: Store) -> list[dict[str, Any]]:
    """The facts that a user's SQL finds, oldest first."""
    found: list[dict[str, Any]] = store.query("SELECT * FROM sources ORDER BY registered_at").to_pylist()
    return [{name: row[name] for name in COLUMNS if row[name] is not None} for row in found]


def documents(*texts: str) -> pa.Table:
    """A row of each of these texts."""
    rows = [{"doc_id": text, "source": "a.jsonl:1", "text": text} for text in texts]
    return pa.Table.from_pylist(rows, schema=ROW_KINDS["document"].schema)


def test_an_external_source_is_known_by_its_hash_and_its_bytes_stay_outside(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "My Corpus.jsonl"
    path.write_text("one\n")
    first = register_file(bench.store, path)
    assert (str(first.asset), first.run_id) == ("source/my-corpus.jsonl@external", None)
    assert register_file(bench.store, path) == first  # nothing new: nothing is written
    assert list(bench.store.objects.all()) == []
    with pytest.raises(StoreError, match="external source"):
        bench.store.checkout(first.version_id)
    path.write_text("two\n")
    second = register_file(bench.store, path)
    assert second.version_id != first.version_id
    assert [head.version_id for head in bench.store.history(first.asset)] == [second.version_id, first.version_id]
    folder = register_file(bench.store, bench.files(config="{}"), name="base-model")
    assert str(folder.asset) == "source/base-model@external"
    with pytest.raises(InputError, match="no such file or folder"):
        register_file(bench.store, tmp_path / "nothing")


def test_a_source_is_told_by_its_facts_and_by_the_sentence_made_of_them(bench: Bench) -> None:
    head = register(bench.store, TAKEN, bench.publish("picks"), FROM_BIG)
    assert (head.asset, head.run_id, head.reason) == (TAKEN, None, f"registered from {FROM_BIG}")
    (row,) = bench.store.query("SELECT * FROM sources").to_pylist()
    assert {name: row[name] for name in COLUMNS if row[name] is not None} == FACTS_OF_BIG
    assert (row["asset"], row["version_id"], row["location"]) == (str(TAKEN), head.version_id, str(FROM_BIG))
    (entry,) = bench.store.catalog.journal.whole()
    assert (entry.event["origin"], entry.event["location"]) == (FACTS_OF_BIG, str(FROM_BIG))
    assert entry.event["format"] == 1, "a halter of before reads the sentence"


@pytest.mark.slow
def test_the_known_content_is_not_registered_again_from_elsewhere_either(bench: Bench) -> None:
    first = register(bench.store, TAKEN, bench.publish("picks"), FROM_BIG)
    assert register(bench.store, TAKEN, bench.publish("picks"), FileOrigin("/elsewhere")) == first
    assert sources(bench.store) == [FACTS_OF_BIG]
    register(bench.store, TAKEN, bench.publish("other picks"), FileOrigin("/elsewhere"))
    assert sources(bench.store) == [FACTS_OF_BIG, {"kind": "file", "path": "/elsewhere"}]


def test_rows_come_in_by_the_same_door_and_leave_no_draft(bench: Bench) -> None:
    head = register_rows(bench.store, TAKEN, documents("one", "two"), "document", FROM_BIG)
    assert sorted(bench.store.rows(head.version_id).column("text").to_pylist()) == ["one", "two"]
    assert sources(bench.store) == [FACTS_OF_BIG]
    assert register_rows(bench.store, TAKEN, documents("two", "one"), "document", FROM_BIG) == head
    with pytest.raises(InputError, match="doc_id"):
        register_rows(bench.store, TAKEN, documents("one").drop(["doc_id"]), "document", FROM_BIG)
    assert list((bench.store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "origin",
    [
        AdoptedOrigin("../evil", "dataset/picks@V1", "a" * 64, "b"),
        AdoptedOrigin("big", "picks", "a" * 64, "b"),
        AdoptedOrigin("big", "dataset/picks@V1", "abc", "b"),
        JudgedOrigin("v1", "enough", {"anna": -1}),
    ],
)
def test_what_a_stranger_could_not_have_written_we_do_not_write(bench: Bench, origin: Origin) -> None:
    with pytest.raises(ValueError, match=r"^(adopted|judged)\."):
        register(bench.store, TAKEN, bench.publish("picks"), origin)
    assert list(bench.store.catalog.journal.whole()) == []


@pytest.mark.slow
def test_each_way_in_says_what_it_can_be_asked_for(bench: Bench, tmp_path: Path) -> None:
    pairs = bench.run("draw_pairs", {"dataset/pairs@V1": "pairs"})
    head = bench.store.heads()[AssetName("dataset", "pairs", "V1")]
    assert head.run_id == pairs.run_id
    answers = [
        EndpointAnswer("p1", "helpfulness", "A", None),
        EndpointAnswer("p2", "helpfulness", None, "endpoint_refused_400"),
    ]
    register_answers(bench.store, TAKEN, answers, model="judge-7b", url="http://localhost:1/v1", pairs=head)
    hand_over_attacks(bench.store, "V3")
    write_intake(bench.store, Intake("V2", 1, "files", (TakenFile("documents", "/data/a.jsonl", "0" * 64),)))
    assert sources(bench.store) == [
        {
            "kind": "asked",
            "model": "judge-7b",
            "url": "http://localhost:1/v1",
            "pairs": "dataset/pairs@V1",
            "pairs_version": head.version_id,
        },
        {"kind": "attacked", "part": "V3"},
        {"kind": "taken_in", "part": "V2"},
    ]
    told = bench.store.query("SELECT location FROM sources ORDER BY registered_at").column("location").to_pylist()
    assert told == [
        f"judge-7b at http://localhost:1/v1 on dataset/pairs@V1 {head.version_id}: 1 answered, 1 endpoint_refused_400",
        "red teams: none has been closed",
        "V2 took in a.jsonl",
    ]


def test_an_event_of_an_older_halter_is_read_by_its_sentence(bench: Bench) -> None:
    event = json.loads(OLDER_EVENT)
    segment = bench.store.catalog.journal.segments / f"{1:012d}.jsonl"
    segment.write_text(Entry.after(0, START, APPLIED, event).line() + "\n")
    bench.store.rebuild()
    version = event["publication"]["version_id"]
    assert adopted_from(bench.store) == {"big": {version}}
    assert sources(bench.store) == [
        FACTS_OF_BIG | {"from_version": version, "made_by": "b8fcec76dee24b0badfc6a7acad72b91"}
    ]


def test_a_store_of_before_tells_the_facts_of_all_that_came_in_then(tmp_path: Path) -> None:
    root, told = unpack(STORES / "schema-5-book-2.tar.gz", tmp_path)
    store = Store.open(root)
    adopted = {run: sorted(versions) for run, versions in adopted_from(store).items()}
    assert (
        adopted
        == told["adopted"]
        == {"big": [store.heads()[AssetName.parse("source/big-picks-v1@external")].version_id]}
    )
    found = sources(store)
    assert [(each["kind"], each.get("part")) for each in found] == [
        *(("file", None), ("judged", None), ("attacked", "V1"), ("attacked", "V2"), ("adopted", None), ("asked", None)),
        *(("taken_in", "base"), ("taken_in", "V2"), ("taken_in", "V3")),
    ]
    assert found[1]["batch"] == "v1"
    assert (found[5]["model"], found[5]["url"]) == ("judge-7b", "http://localhost:8000/v1")
    assert (found[5]["pairs"], found[5]["pairs_version"]) == ("dataset/pairs@V1", "ab" * 32)
    (path,) = store.catalog.read("SELECT path FROM origin WHERE kind = 'file'")
    assert path == (found[0]["path"],)


def test_nothing_else_registers_a_source() -> None:
    """Whoever writes the event by hand forgets one of the things that the door does."""
    packages = ("data_store", "tasks", "flows", "web", "deployments")
    writing = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bsource_registered\(", path.read_text())
    }
    assert writing == {"data_store/catalog/events.py", "data_store/incoming/sources.py"}
