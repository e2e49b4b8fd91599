"""Pairs become a batch, and the judgements of the closed batch become a version that the catalog knows."""

from typing import Any

import pytest

from data_store.annotation.batches import ItemDraft, close_batch
from data_store.annotation.handover import attention_checks, batch_name, drafts, find_batch, hand_over, judgements_asset
from data_store.errors import InputError
from data_store.rows import ROW_KINDS
from data_store.store import Store
from tests.data_store.annotation.pairs import Desk, new_desk, pair
from tests.data_store.store_bench import Bench


@pytest.fixture
def kept(bench: Bench) -> tuple[Store, Desk]:
    """A store with a book, and anna who judged two of three pairs."""
    store, desk = bench.store, new_desk(bench.store.root)
    desk.add("anna", "ben")
    desk.open(pair(1), pair(2, "safety"), pair(3))
    desk.judge("anna", "a", "better")
    desk.judge("ben", "b", "slightly_better", "both_unsafe")
    return store, desk


def test_the_judgements_of_a_closed_batch_are_a_source_that_names_batch_and_people(kept: tuple[Store, Desk]) -> None:
    store, desk = kept
    with pytest.raises(InputError, match="still open"):
        hand_over(store, desk.book, "v1")
    close_batch(desk.book, "v1", "enough")
    head = hand_over(store, desk.book, "v1")
    assert (str(head.asset), head.run_id) == ("source/judgements-v1@external", None)
    assert head.reason.endswith("annotation batch v1, closed because enough: 1 judgements by anna, 1 judgements by ben")
    rows = store.rows(head.version_id).to_pylist()
    assert sorted((row["annotator"], row["chosen"], row["safety_label"], row["split"]) for row in rows) == [
        ("anna", "a", None, None),
        ("ben", "b", "both_unsafe", None),
    ]


def test_handing_over_again_writes_nothing(kept: tuple[Store, Desk]) -> None:
    store, desk = kept
    close_batch(desk.book, "v1", "enough")
    assert hand_over(store, desk.book, "v1") == hand_over(store, desk.book, "v1")
    assert len(store.history(judgements_asset("v1"))) == 1
    assert list((store.root / "tmp").iterdir()) == []


def test_a_batch_is_named_by_its_pairs_and_its_iteration() -> None:
    assert batch_name("V2", "ab" * 32) == "v2-abababababababab"
    assert len({batch_name("V1", "a" * 64), batch_name("V2", "a" * 64), batch_name("V1", "b" * 64)}) == 3


def test_a_batch_that_is_not_there_is_none(kept: tuple[Store, Desk]) -> None:
    _, desk = kept
    assert find_batch(desk.book, "v2") is None
    found = find_batch(desk.book, "v1")
    assert found is not None
    assert (found.done, found.waiting) == (2, 1)


def test_rows_become_items_in_the_order_of_their_ids() -> None:
    def row(item: ItemDraft) -> dict[str, Any]:
        return {name: getattr(item, name) for name in ROW_KINDS["pair"].schema.names if hasattr(item, name)} | {
            "pair_id": item.key
        }

    def item(number: int) -> ItemDraft:
        sampled = {"token_ids_a": [number], "token_ids_b": [2], "tokenizer": "tok"}
        return pair(number, finished_a=False, finished_b=True, **sampled)

    assert drafts([row(item(3)), row(item(1)), row(item(2))]) == [item(1), item(2), item(3)]


def test_attention_checks_set_an_answer_against_its_own_words_out_of_order() -> None:
    long = {"response_a": "one two three four five six seven"}
    items = [pair(1, **long), pair(2, "safety", **long), pair(3), *(pair(number, **long) for number in range(4, 30))]
    checks = attention_checks(items, 8)
    assert len(checks) == 8
    cut = attention_checks([pair(number, **long, finished_a=False, finished_b=True) for number in range(4, 30)], 8)
    assert {(one.finished_a, one.finished_b) for one in cut} == {(False, False)}, "a mark must not tell them apart"
    for check in checks:
        right, wrong = (check.response_a, check.response_b)[:: 1 if check.known_choice == "a" else -1]
        assert right == long["response_a"]
        assert sorted(wrong.split()) == sorted(right.split())
        assert wrong != right
        assert check.axis == "helpfulness"
    assert {check.known_choice for check in checks} == {"a", "b"}
    assert attention_checks(items[::-1], 8) == checks
    assert len(attention_checks(items, 1000)) == 27
    assert attention_checks([pair(1), pair(2)], 3) == []
