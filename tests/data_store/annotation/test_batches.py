from typing import Any

import pytest

from data_store.annotation.batches import batch_of, batches, close_batch
from data_store.errors import InputError
from tests.data_store.annotation.pairs import START, Desk, pair


def test_opening_the_same_batch_again_changes_nothing(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    desk.judge("anna")
    desk.time[0] += 60
    desk.open(pair(1), pair(2))
    found = batch_of(desk.book, "v1")
    assert (found.done, found.waiting, found.closed, found.created_at) == (1, 1, None, START)


def test_another_content_under_a_name_that_is_taken_is_refused(desk: Desk) -> None:
    desk.open(pair(1))
    with pytest.raises(InputError, match="other content"):
        desk.open(pair(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": "beauty"}, "row 1: field 'axis' is 'beauty'"),
        ({"messages": []}, "row 1: field 'messages' is an empty list"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "row 1: field 'messages' ends with role 'assistant'"),
        ({"response_b": "answer A of 2"}, "row 1: both responses are the same"),
        ({"key": "p1"}, "row 1: .* is already the key of row 0"),
        ({"known_choice": "c"}, "row 1: field 'known_choice'"),
        ({"temperature_milli_a": 2**40}, "batch v1"),
        ({"response_a": "\ud800"}, "batch v1"),
    ],
)
def test_a_pair_that_could_not_become_a_preference_is_refused_at_once(
    desk: Desk, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        desk.open(pair(1), pair(2, **changes), quota=1)
    assert batches(desk.book) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quota": 2}, "quota is 2, and there are 1 pairs"),
        ({"quota": 0}, "at least 1"),
        ({"people_per_item": 0}, "at least 1"),
        ({"batch_id": "../v1"}, "batch '../v1'"),
        ({"part": "no part"}, "asset part"),
        ({"guidelines": {"beauty": "be nice"}}, "guidelines for beauty"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(desk: Desk, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk.open(pair(1), **changes)


def test_a_closed_batch_stays_closed_for_the_first_reason(desk: Desk) -> None:
    desk.open(pair(1))
    desk.open(pair(1), batch_id="v2")
    close_batch(desk.book, "v1", "quota met")
    close_batch(desk.book, "v1", "again")
    assert batch_of(desk.book, "v1").closed == "quota met"
    assert [batch.spec.batch_id for batch in batches(desk.book)] == ["v1", "v2"]
    assert [batch.spec.batch_id for batch in batches(desk.book, only_open=True)] == ["v2"]


def test_an_unknown_batch_is_named_with_those_there_are(desk: Desk) -> None:
    desk.open(pair(1))
    with pytest.raises(InputError, match=r"no batch 'v9'; there are: v1"):
        batch_of(desk.book, "v9")
