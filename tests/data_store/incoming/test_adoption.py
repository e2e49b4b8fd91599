"""What one run's store takes from another's: copied by content, with where it came from."""

import shutil
from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.incoming.adoption import adopt
from data_store.names import AssetName
from data_store.store import Store
from tests.data_store.store_bench import Bench

DOCUMENTS = AssetName("dataset", "documents", "V1")
ADOPTED = AssetName("source", "big-documents-v1", "external")


@pytest.fixture
def big(tmp_path: Path, empty_store: Path) -> Bench:
    """The store of a run `big` beside the bench's own, with one data set."""
    shutil.copytree(empty_store, tmp_path / "big")
    bench = Bench(Store(tmp_path / "big"), tmp_path / "big-work")
    made(bench, "one", "two")
    return bench


def made(bench: Bench, *texts: str) -> str:
    published = bench.store.publish("dataset", bench.documents(*texts), row_kind="document")
    bench.run("write", {str(DOCUMENTS): published})
    return published.version_id


def texts(store: Store, version: str) -> list[str]:
    return sorted(store.rows(version).column("text").to_pylist())


def test_the_version_keeps_its_id_and_says_which_run_of_which_store_made_it(bench: Bench, big: Bench) -> None:
    there = big.store.heads()[DOCUMENTS]
    head = adopt(bench.store, "big", DOCUMENTS)
    assert (head.asset, head.version_id, head.run_id) == (ADOPTED, there.version_id, None)
    assert head.reason.endswith(
        f"run big: dataset/documents@V1 version {there.version_id}, made by its run {there.run_id}"
    )
    assert texts(bench.store, head.version_id) == ["one", "two"]


@pytest.mark.slow
def test_nothing_is_written_twice_and_other_content_is_another_version(bench: Bench, big: Bench) -> None:
    first = adopt(bench.store, "big", DOCUMENTS)
    made(big, "one", "two")  # by another run, with the same bytes
    assert adopt(bench.store, "big", DOCUMENTS) == first
    newer = made(big, "one", "three")
    assert adopt(bench.store, "big", DOCUMENTS).version_id == newer != first.version_id
    assert [head.version_id for head in bench.store.history(ADOPTED)] == [newer, first.version_id]
    assert texts(bench.store, first.version_id) == ["one", "two"]


def test_the_copy_outlives_the_other_store_and_a_rebuilt_catalog(bench: Bench, big: Bench) -> None:
    head = adopt(bench.store, "big", DOCUMENTS)
    shutil.rmtree(big.store.root)
    bench.store.rebuild()
    assert adopt(bench.store, "big", DOCUMENTS) == head
    for ref in bench.store.version(head.version_id).objects:
        bench.store.objects.sound(ref.sha256)
    assert texts(bench.store, head.version_id) == ["one", "two"]


def test_what_was_edited_in_the_other_stores_checkout_is_not_taken_its_objects_are(bench: Bench, big: Bench) -> None:
    version = big.store.heads()[DOCUMENTS].version_id
    rows = big.store.checkout(version) / "rows.parquet"
    rows.chmod(0o644)
    rows.write_bytes((big.documents("one", "other") / "rows.parquet").read_bytes())
    head = adopt(bench.store, "big", DOCUMENTS)
    assert head.version_id == version
    assert texts(bench.store, head.version_id) == ["one", "two"]


def test_a_run_or_an_asset_that_is_not_there_is_named_with_what_is(bench: Bench, big: Bench) -> None:
    with pytest.raises(InputError, match=r"there is no run 'huge' in .*; there are: big"):
        adopt(bench.store, "huge", DOCUMENTS)
    with pytest.raises(InputError, match=r"run 'big' has no dataset/documents@V2; it has documents of: V1\. Run it"):
        adopt(bench.store, "big", AssetName("dataset", "documents", "V2"))
    assert bench.store.heads() == {}
