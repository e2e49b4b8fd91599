"""A finished run of another store is taken over by its fingerprint: with its id, its record, its metrics and its
content, and nothing changes in the store that it comes from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_store.errors import StoreError
from data_store.estimate import Estimate
from data_store.incoming.sharing import computed_here, share_finished
from data_store.names import AssetName
from data_store.records import Metric, RunInput, RunOutput, RunRecord
from data_store.store import Store
from data_store.upkeep.retention import Retention
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from tests.data_store.store_bench import Bench

METRICS = (
    Metric("loss", 0.5),
    Metric("loss", 0.25, 3),
    Metric("seconds", 9),
    Metric("win_rate", 0.5, 0, 80, 0.4, 0.6, "somebody"),
)
POLICY, BASE = AssetName("model", "policy", "V1"), AssetName("model", "base", "base")


@pytest.fixture
def bench(tmp_path: Path) -> Callable[[str], Bench]:
    """A store by its name, all side by side."""
    return lambda name: Bench(Store.open(tmp_path / "home" / name), tmp_path / f"work-{name}")


def train(bench: Bench, text: str = "weights", fingerprint: str = "same") -> RunRecord:
    """A run that really began in this store: it reads the base and makes a policy."""
    record = RunRecord("train", "V1", fingerprint, "1", {"lr": 0.1}, 7, code_files={"a.py": "0" * 64}, host="there")
    base = bench.store.heads()[BASE]
    inputs = [RunInput("base", BASE, base.version_id, base.run_id)]
    bench.store.begin_run(record, [base.version_id])
    made = {"policy": RunOutput(POLICY, bench.publish(text))}
    bench.store.commit_run(record, inputs, made, METRICS)
    return record


def reads(bench: Bench) -> list[RunInput]:
    base = bench.store.heads()[BASE]
    return [RunInput("base", BASE, base.version_id, base.run_id)]


@pytest.mark.slow
@pytest.mark.conformance(
    "a variant's shared steps lose what made them", equation="data_store.incoming.sharing:share_finished"
)
def test_a_run_comes_with_its_record_its_curves_and_its_content_and_lineage_is_said_in_words_of_this_store(
    bench: Callable[[str], Bench],
) -> None:
    there, here = bench("there"), bench("here")
    there.run("make", {"model/base@base": "base"})
    mine = here.run("make", {"model/base@base": "base"})
    record = train(there)
    before = there.store.catalog.seq()

    assert share_finished(here.store, [there.store], "same", reads(here)) is there.store

    assert there.store.catalog.seq() == before, "nothing is written there"
    (found,) = here.store.runs(run_id=record.run_id)
    assert found.run == record
    assert (found.state, dict(found.metrics)) == ("succeeded", {"loss": 0.25, "seconds": 9.0, "win_rate": 0.5})
    assert found.estimates == {"win_rate": Estimate(0.5, 80, 0.4, 0.6, "somebody")}
    assert here.store.metrics(record.run_id) == there.store.metrics(record.run_id)
    assert here.store.heads()[POLICY].version_id == there.store.heads()[POLICY].version_id
    assert here.store.heads()[POLICY].reason == "imported from run there"
    assert {*here.store.lineage(POLICY).runs} == {mine.run_id, record.run_id}, "its base is the one made here"
    assert (here.store.checkout(here.store.heads()[POLICY].version_id) / "weights").read_text() == "weights"
    assert here.store.stale() == {}
    assert verify(here.store).problems == ()


@pytest.mark.slow
def test_content_is_linked_and_takes_no_second_place_on_the_disk(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    train(there)
    share_finished(here.store, [there.store], "same", reads(here))
    for ref in there.store.version(there.store.heads()[POLICY].version_id).objects:
        a, b = there.store.objects.path(ref.sha256).stat(), here.store.objects.path(ref.sha256).stat()
        assert (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


@pytest.mark.slow
def test_what_is_collected_in_one_store_stays_in_the_other(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    train(there)
    share_finished(here.store, [there.store], "same", reads(here))
    train(there, "newer", "other")
    collect(there.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0), grace_seconds=-1)
    assert there.store.find_finished("same") is None
    assert here.store.find_finished("same") is not None
    assert verify(here.store).problems == ()


@pytest.mark.slow
def test_nothing_is_taken_where_the_store_has_it_or_nobody_has(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    seq = here.store.catalog.seq()
    assert share_finished(here.store, [there.store], "same", reads(here)) is None
    assert here.store.catalog.seq() == seq
    train(there)
    own = train(here)
    assert share_finished(here.store, [there.store], "same", reads(here)) is None
    assert here.store.heads()[POLICY].run_id == own.run_id


@pytest.mark.slow
def test_content_that_was_collected_here_comes_back_under_the_run_that_is_known(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    shared = train(there)
    share_finished(here.store, [there.store], "same", reads(here))
    train(here, "newer", "other")
    collect(here.store, dry_run=False, retention=Retention(keep_versions=0, keep_days=0), grace_seconds=-1)
    assert here.store.find_finished("same") is None
    assert share_finished(here.store, [there.store], "same", reads(here)) is there.store
    assert here.store.find_finished("same") is not None
    assert here.store.heads()[POLICY].run_id == shared.run_id, "the head goes back to it"
    assert verify(here.store).problems == ()


def test_a_damaged_object_is_not_taken_over(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    train(there)
    (ref,) = there.store.version(there.store.heads()[POLICY].version_id).objects
    path = there.store.objects.path(ref.sha256)
    path.chmod(0o644)
    path.write_text("damaged")
    with pytest.raises(StoreError, match="is damaged"):
        share_finished(here.store, [there.store], "same", reads(here))
    assert POLICY not in here.store.heads()
    assert not here.store.objects.exists(ref.sha256)


@pytest.mark.slow
def test_what_was_computed_here_is_told_from_what_was_taken_over(bench: Callable[[str], Bench]) -> None:
    there, here = bench("there"), bench("here")
    for each in (there, here):
        each.run("make", {"model/base@base": "base"})
    shared = train(there)
    share_finished(here.store, [there.store], "same", reads(here))
    own = train(here, "other", "other")
    assert computed_here(there.store) == {shared.run_id}
    assert computed_here(here.store) == {own.run_id}
