"""Withdrawn rows: which versions hold them, what they reached, and what remains when they are erased."""

from typing import Any

import pytest

from data_store.catalog import events
from data_store.errors import InputError, StoreError
from data_store.names import AssetName
from data_store.records import Publication, RunInput
from data_store.store import Store
from data_store.upkeep.backups import backup
from data_store.upkeep.upkeep import collect
from data_store.upkeep.verification import verify
from data_store.upkeep.withdrawals import Taint, count_rows, names_in, readmit, taint_of, withdraw
from tests.data_store.store_bench import Bench

PASSED_ON = {("deal", "output-0"): ("input-0",)}


def judgement(number: int, annotator: str, source: str = "pairs.jsonl") -> dict[str, Any]:
    return {
        "preference_id": f"{source}:{number}",
        "source": f"{source}:{number}",
        "prompt_id": f"p{number}",
        "axis": "helpfulness",
        "iteration": "V1",
        "split": "train",
        "messages": [{"role": "user", "content": "Hello?"}],
        "response_a": "yes",
        "response_b": "no",
        "chosen": "a",
        "rating": "better",
        "annotator": annotator,
    }


def judgements(bench: Bench, *by: str) -> Publication:
    """A published version with one judgement by each of these."""
    rows = [judgement(number, annotator) for number, annotator in enumerate(by)]
    return bench.store.publish("dataset", bench.rows("preference", rows), row_kind="preference")


def taint(store: Store) -> Taint:
    return taint_of(store, store.withdrawals(), PASSED_ON, {})


def reached(store: Store) -> set[str]:
    """The assets whose heads are tainted."""
    made = taint(store).made
    return {str(a) for a, head in store.heads().items() if (head.run_id, head.version_id) in made}


def recipe(bench: Bench) -> None:
    """Pairs by anna and ben are dealt out: V1 gets some of both, V2 ben's alone; each trains a model."""
    bench.run("import", {"dataset/raw@base": judgements(bench, "anna", "ben", "anna", "ben")})
    for part, by in (("V1", ("anna", "ben")), ("V2", ("ben",))):
        bench.run("deal", {f"dataset/preferences@{part}": judgements(bench, *by)}, ("dataset/raw@base",))
        bench.run("train", {f"model/reward@{part}": f"reward {part}"}, (f"dataset/preferences@{part}",))
    bench.run("tune", {"model/policy@V2": "policy"}, ("model/reward@V1", "model/reward@V2"))


@pytest.mark.slow
def test_rows_decide_whether_a_data_set_is_tainted_and_lineage_whether_a_model_is(bench: Bench) -> None:
    recipe(bench)
    assert taint(bench.store) == Taint()
    withdraw(bench.store, "annotator", "anna", "she asked for it")
    assert reached(bench.store) == {
        "dataset/raw@base",
        "dataset/preferences@V1",
        "model/reward@V1",
        "model/policy@V2",
    }, "V2 was dealt none of her judgements"
    found = taint(bench.store)
    raw = judgements(bench, "anna", "ben", "anna", "ben").version_id
    assert found.rows == {raw: 2, judgements(bench, "anna", "ben").version_id: 1}
    assert found.versions[raw] == "holds 2 rows of annotator anna"
    policy = bench.store.heads()[AssetName.parse("model/policy@V2")]
    assert found.versions[policy.version_id] == "model/reward@V1 is tainted"


@pytest.mark.slow
def test_what_is_taken_back_taints_nothing_and_may_be_withdrawn_once_more(bench: Bench) -> None:
    recipe(bench)
    withdraw(bench.store, "annotator", "anna", "she asked for it")
    before = reached(bench.store)
    with pytest.raises(InputError, match="annotator 'anna' is already withdrawn"):
        withdraw(bench.store, "annotator", "anna", "again")
    readmit(bench.store, "annotator", "anna", "she agreed")
    assert (bench.store.withdrawals(), reached(bench.store)) == ([], set())
    with pytest.raises(InputError, match="annotator 'anna' is not withdrawn"):
        readmit(bench.store, "annotator", "anna", "twice")
    withdraw(bench.store, "annotator", "anna", "for good")
    assert [(str(each), each.reason) for each in bench.store.withdrawals()] == [("annotator anna", "for good")]
    assert reached(bench.store) == before


@pytest.mark.slow
def test_rows_that_come_in_after_the_withdrawal_taint_as_well(bench: Bench) -> None:
    withdraw(bench.store, "annotator", "anna", "she asked for it")
    recipe(bench)  # a run that had begun before
    assert "model/policy@V2" in reached(bench.store)


@pytest.mark.parametrize(
    ("name", "count"),
    [("pairs.jsonl", 3), ("b/pairs.jsonl", 1), ("airs.jsonl", 0), ("pairs.jsonl:1", 0), ("pairs?jsonl", 0), ("b", 0)],
)
def test_a_source_is_named_by_its_file_or_the_end_of_its_path(bench: Bench, name: str, count: int) -> None:
    sources = ["a/pairs.jsonl", "b/pairs.jsonl", "pairs.jsonl", "other.jsonl"]
    rows = [judgement(1, "anna", source) for source in sources]
    published = bench.store.publish("dataset", bench.rows("preference", rows), row_kind="preference")
    bench.run("import", {"dataset/raw@base": published})
    assert count_rows(bench.store, "source", name) == ({published.version_id: count} if count else {})
    assert names_in(bench.store, "source") == sorted(sources)


@pytest.mark.slow
def test_a_version_that_comes_out_the_same_without_the_rows_is_not_tainted(bench: Bench) -> None:
    """And a run that is taken up again on inputs made anew has the lineage of these."""
    recipe(bench)
    store, reward = bench.store, AssetName.parse("model/reward@V1")
    tuned = store.heads()[AssetName.parse("model/policy@V2")]
    withdraw(store, "annotator", "anna", "she asked for it")
    bench.run("import", {"dataset/raw@base": judgements(bench, "ben", "ben")})
    bench.run("deal", {"dataset/preferences@V1": judgements(bench, "ben", "ben")}, ("dataset/raw@base",))
    bench.run("train", {str(reward): "reward V1"}, ("dataset/preferences@V1",))
    assert reached(store) == {"model/policy@V2"}
    assert store.heads()[reward].version_id not in taint(store).versions
    heads = store.heads()
    parts = enumerate(("model/reward@V1", "model/reward@V2"))
    reads = [(f"input-{n}", heads[AssetName.parse(asset)]) for n, asset in parts]
    inputs = [RunInput(role, head.asset, head.version_id, head.run_id) for role, head in reads]
    assert tuned.run_id is not None
    store.move_heads(tuned.run_id, {tuned.asset: tuned.version_id}, "taken up again", inputs)
    assert reached(store) == set()
    assert heads[reward].run_id in store.lineage(tuned.asset).runs
    assert judgements(bench, "anna", "ben").version_id not in {e.version_id for e in store.lineage(reward).edges}
    before = store.catalog.read("SELECT count(*) FROM applied_event")
    store.move_heads(tuned.run_id, {tuned.asset: tuned.version_id}, "nothing new", inputs)
    assert store.catalog.read("SELECT count(*) FROM applied_event") == before
    with pytest.raises(InputError, match="did not read these versions"):
        store.move_heads(tuned.run_id, {}, "wrong", inputs[:1])
    store.rebuild()
    assert reached(store) == set()


@pytest.mark.slow
def test_erased_rows_are_gone_from_the_disk_and_known_to_have_been_there(bench: Bench, tmp_path: Any) -> None:
    recipe(bench)
    store = bench.store
    withdraw(store, "annotator", "anna", "she asked for it")
    bench.run("import", {"dataset/raw@base": judgements(bench, "ben")})
    for part in ("V1", "V2"):
        bench.run("deal", {f"dataset/preferences@{part}": judgements(bench, "ben")}, ("dataset/raw@base",))
        bench.run("train", {f"model/reward@{part}": f"clean {part}"}, (f"dataset/preferences@{part}",))
    bench.run("tune", {"model/policy@V2": "clean"}, ("model/reward@V1", "model/reward@V2"))
    found = taint(store)
    (old,) = [v for v, count in found.rows.items() if count == 1]
    store.checkout(old)
    going = dict.fromkeys(found.versions, "erased: annotator anna")
    planned = collect(store, erased=going)
    assert old in planned.retired
    assert count_rows(store, "annotator", "anna"), "a dry run deletes nothing"
    collect(store, dry_run=False, erased=going)
    assert count_rows(store, "annotator", "anna") == {}
    assert not any(b"anna" in store.objects.path(sha256).read_bytes() for sha256, _ in store.objects.all())
    with pytest.raises(StoreError, match="missing"):
        store.checkout(old)
    assert verify(store).problems == ()
    assert taint(store) == found, "what is gone stays marked"
    copy = tmp_path / "copy"
    backup(store, copy)
    assert taint(Store.open(copy)) == found


@pytest.mark.slow
def test_what_is_current_is_never_erased(bench: Bench) -> None:
    recipe(bench)
    withdraw(bench.store, "annotator", "anna", "she asked for it")
    with pytest.raises(InputError, match="points to a version that was to be retired"):
        collect(bench.store, dry_run=False, erased=dict.fromkeys(taint(bench.store).versions, "erased"))
    assert verify(bench.store).problems == ()


def test_a_journal_from_before_withdrawals_is_read(bench: Bench) -> None:
    record = bench.run("train", {"model/policy@V1": "m"})
    version = bench.publish("m").version_id
    event = events.heads_moved(record.run_id, {AssetName.parse("model/policy@V1"): version}, "taken up again")
    del event["inputs"]
    bench.store.catalog.write(event)
    bench.store.rebuild()
    (newest, _) = bench.store.history(AssetName.parse("model/policy@V1"))
    assert newest.reason == "taken up again"
