"""A version of a model by its id or its name, as a source that says what made it."""

import pytest

from data_store.errors import InputError
from data_store.incoming.stored_models import content_of, find_model, register_model
from data_store.names import AssetName
from tests.data_store.store_bench import Bench

SOURCE = AssetName("source", "compared-shipped", "external")


def models(bench: Bench) -> tuple[str, str, str]:
    """(older version, newer version, the newer one's run) of a policy."""
    found = []
    for text in ("old", "new"):
        run = bench.run("fine_tune", {"model/policy@V1": bench.publish(text)})
        head = bench.store.head(AssetName.parse("model/policy@V1"))
        assert head is not None
        found.append((head.version_id, run.run_id))
    return found[0][0], found[1][0], found[1][1]


def test_a_version_is_found_by_its_id_by_its_first_digits_and_by_what_points_to_it(bench: Bench) -> None:
    old, new, run = models(bench)
    for wanted in (old, old[:8]):
        assert find_model(bench.store, wanted, "key").from_version == old
    found = find_model(bench.store, "model/policy@V1", "key")
    assert (found.from_asset, found.from_version, found.made_by) == ("model/policy@V1", new, run)
    assert content_of(bench.store, found, "weights") == b"new"
    assert content_of(bench.store, found, "config.json") is None


def test_what_the_store_does_not_hold_is_refused_with_what_it_does(bench: Bench) -> None:
    old, new, _ = models(bench)
    bench.run("draw", {"dataset/pairs@V1": bench.store.publish("dataset", bench.files(rows="x"))})
    data = bench.store.heads()[AssetName.parse("dataset/pairs@V1")].version_id
    for wanted in ("0" * 64, old[:7], "model/policy@V2", data, "dataset/pairs@V1", "%", ""):
        with pytest.raises(InputError, match=rf"^key: {wanted} is no model of this store; .*policy@V1 {new[:12]}"):
            find_model(bench.store, wanted, "key")
    for each in bench.store.version(old).objects:
        bench.store.objects.remove(each.sha256)
    with pytest.raises(InputError, match="was removed from the store"):
        find_model(bench.store, old, "key")


def test_it_becomes_a_source_once_of_which_the_lineage_knows_the_maker(bench: Bench) -> None:
    old, _, _ = models(bench)
    found = find_model(bench.store, old, "key")
    head = register_model(bench.store, found, SOURCE)
    assert (head.version_id, head.run_id) == (old, None)
    assert head.reason.endswith(f"model/policy@V1 version {old}, made by run {found.made_by}")
    assert register_model(bench.store, found, SOURCE) == head
    assert len(bench.store.history(SOURCE)) == 1
    assert find_model(bench.store, old, "key") == found, "the source is not taken for what made it"
    assert (bench.store.checkout(old) / "weights").read_text() == "old"
