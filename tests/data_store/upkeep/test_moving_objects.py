"""Moving a store's objects, on a bucket in memory; on a real server: tests/data_store/test_objects_in_bucket.py."""

import re

import pytest

from data_store.errors import InputError, LostObjectError
from data_store.places import read_places
from data_store.store import Store
from data_store.upkeep.moving_objects import HERE, move_objects
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench
from tests.s3_server import Buckets

PLACE = "s3://llamas/store"


def hashes(store: Store) -> list[str]:
    return sorted(sha256 for sha256, _ in store.objects.all())


def test_there_and_back_nothing_is_lost_and_what_is_copied_is_counted(bench: Bench, buckets: Buckets) -> None:
    for name in ("a", "b", "c"):
        bench.run("train", {f"model/{name}@V1": f"weights {name}"})
    before = hashes(bench.store)
    done = move_objects(bench.store, PLACE + "/")
    assert (done.place, done.objects, done.bytes, done.copied, done.removed, done.left) == (PLACE, 3, 27, 3, 0, HERE)
    far = Store.open(bench.store.root)
    assert hashes(far) == before
    back = move_objects(far, HERE, remove_old=True)
    assert (back.place, back.copied, back.removed, back.left) == (HERE, 0, 3, None)
    assert list(buckets(PLACE).listed("")) == []
    assert verify(Store.open(bench.store.root)).problems == ()


def test_doing_it_again_copies_nothing_and_may_remove_what_stayed(bench: Bench, buckets: Buckets) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    move_objects(bench.store, PLACE)
    again = move_objects(Store.open(bench.store.root), PLACE, cache_gb=2.5)
    assert (again.copied, again.removed, again.left) == (0, 0, HERE)
    assert read_places(bench.store.root).cache_gb == 2.5
    last = move_objects(Store.open(bench.store.root), PLACE, remove_old=True)
    assert (last.removed, last.left) == (1, None)
    assert read_places(bench.store.root).cache_gb == 2.5
    assert [*(bench.store.root / "objects").glob("??/*")] == []


@pytest.mark.conformance(
    "a store that is switched to a place that has not all of it",
    equation="data_store.upkeep.moving_objects:_bring",
)
def test_damage_in_the_new_place_is_found_before_the_switch(bench: Bench, buckets: Buckets) -> None:
    """As a move that was cut off may have left it."""
    bench.run("train", {"model/policy@V1": "weights"})
    (sha256,) = hashes(bench.store)
    key = f"objects/{sha256[:2]}/{sha256}"
    move_objects(bench.store, PLACE)
    here = Store.open(bench.store.root)
    move_objects(here, HERE)
    buckets(PLACE).delete([key])
    buckets(PLACE).create(key, b"weightz")
    assert move_objects(Store.open(bench.store.root), PLACE).copied == 0
    reader = buckets(PLACE).read(key)
    assert reader is not None
    assert reader.read(99) == b"weights"


def test_damage_in_the_old_place_is_said_and_nothing_is_switched(bench: Bench, buckets: Buckets) -> None:
    bench.run("train", {"model/policy@V1": "weights"})
    (sha256,) = hashes(bench.store)
    copy = bench.store.objects.path(sha256)
    copy.chmod(0o644)
    copy.write_bytes(b"weightz")
    with pytest.raises(LostObjectError, match=f"{re.escape(str(copy))} is damaged"):
        move_objects(Store.open(bench.store.root), PLACE)
    assert read_places(bench.store.root).objects is None


def test_what_is_no_place_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="give s3://BUCKET/PREFIX, or 'here' for the store's folder"):
        move_objects(bench.store, "elsewhere")
