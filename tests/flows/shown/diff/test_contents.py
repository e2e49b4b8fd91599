"""Which rows and files one version has and another has not, worked by hand."""

from pathlib import Path

import pytest

from data_store.store import Store
from flows.shown.diff.contents import compare
from tests.data_store.store_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store.open(tmp_path / "store"), tmp_path / "work")


def documents(bench: Bench, **texts: str) -> str:
    """The id of a version with these documents, by their ids, that an asset points to."""
    rows = [{"doc_id": key, "source": "a.jsonl:1", "text": text} for key, text in texts.items()]
    made = bench.store.publish("dataset", bench.rows("document", rows), row_kind="document")
    bench.run("filter_corpus", {f"dataset/corpus{bench.made}@base": made})
    return made.version_id


def test_rows_are_added_dropped_changed_and_kept_by_key_and_content(bench: Bench) -> None:
    a = documents(bench, one="1", two="2", three="3")
    b = documents(bench, two="2", three="III", four="4", five="5")
    found = compare("corpus", (bench.store, a), (bench.store, b), 3)
    assert (found.added, found.dropped, found.changed, found.kept, found.unit) == (2, 1, 1, 1, "rows")
    assert [row["doc_id"] for row in found.examples["added"]] == ["five", "four"]
    assert found.examples["dropped"] == [{"doc_id": "one", "source": "a.jsonl:1", "text": "1"}]
    ((changed),) = found.examples["changed"]
    assert (changed["a"]["text"], changed["b"]["text"]) == ("3", "III")
    back = compare("corpus", (bench.store, b), (bench.store, a), 0)
    assert (back.added, back.dropped, back.changed, back.kept, back.examples) == (1, 2, 1, 1, {})


def test_a_version_differs_in_nothing_from_itself(bench: Bench) -> None:
    version = documents(bench, one="1", two="2")
    found = compare("corpus", (bench.store, version), (bench.store, version), 3)
    assert found.is_same
    assert found.kept == 2


def test_no_more_examples_are_given_than_asked_for_and_the_counts_are_of_all(bench: Bench) -> None:
    a, b = documents(bench, x="0"), documents(bench, **{f"d{n}": "t" for n in range(50)})
    found = compare("corpus", (bench.store, a), (bench.store, b), 2)
    assert found.added == 50
    assert [len(rows) for rows in found.examples.values()] == [2, 1]


def test_files_are_compared_by_path_and_content(bench: Bench) -> None:
    versions = []
    for files in ({"config": "1", "weights": "w", "old": "o"}, {"config": "1", "weights": "v", "new": "n"}):
        made = bench.store.publish("model", bench.files(**files))
        bench.run("sft", {f"model/policy{len(versions)}@V0": made})
        versions.append(made.version_id)
    found = compare("policy", (bench.store, versions[0]), (bench.store, versions[1]), 3)
    assert (found.added, found.dropped, found.changed, found.kept, found.unit) == (1, 1, 1, 1, "files")
    assert found.examples == {"added": ["new"], "dropped": ["old"], "changed": ["weights"]}


def test_what_one_side_alone_has_is_all_added_or_all_dropped(bench: Bench) -> None:
    version = documents(bench, one="1", two="2")
    for a, b, counts, note in ((None, version, (2, 0), "only in b"), (version, None, (0, 2), "only in a")):
        found = compare("corpus", (bench.store, a), (bench.store, b), 3)
        assert ((found.added, found.dropped), found.note) == (counts, note)


def test_rows_of_two_kinds_and_lost_contents_are_said_to_be_not_comparable(bench: Bench) -> None:
    rows, other = documents(bench, one="1"), documents(bench, one="2")
    files = bench.store.publish("model", bench.files(weights="w"))
    bench.run("sft", {"model/policy@V0": files})
    found = compare("x", (bench.store, rows), (bench.store, files.version_id), 3)
    assert found.note == "not comparable: document and files"
    assert not found.is_same
    for ref in bench.store.version(other).objects:
        bench.store.objects.path(ref.sha256).unlink()
    assert compare("x", (bench.store, rows), (bench.store, other), 3).note.startswith("not compared: object")
