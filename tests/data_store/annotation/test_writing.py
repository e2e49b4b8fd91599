import pytest

from data_store.annotation.batches import batch_of
from data_store.annotation.judging import FormOutOfDateError, Verdict, judge, next_item
from data_store.annotation.writing import LiveResponse, begin_dialogue, continue_dialogue, enter_written
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk, pair

SIDES = (LiveResponse("one", "new", 700), LiveResponse("two", "old", 1000))


def test_a_written_prompt_is_a_pair_that_its_writer_judges_first_and_others_after(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1), quota=5, people_per_item=2, written_prompts=True)
    item = enter_written(desk.book, "v1", "anna", begin_dialogue("helpfulness"), "why?", SIDES)
    shown = desk.next("anna")
    assert (shown.item.item_id, shown.item.response_a, shown.item.response_b) == (item, "one", "two")
    judge(desk.book, "anna", shown.form_key, Verdict("b", "better"))
    desk.judge("ben")
    assert desk.judge("ben") == item
    assert batch_of(desk.book, "v1").done == 1


def test_a_dialogue_goes_on_with_the_response_that_was_chosen_and_keeps_its_prompt_id(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(quota=5, written_prompts=True)
    first = enter_written(desk.book, "v1", "anna", begin_dialogue("safety"), "why?", SIDES)
    with pytest.raises(FormOutOfDateError):  # not judged yet
        continue_dialogue(desk.book, "v1", "anna", first)
    desk.judge("anna", "b")
    dialogue = continue_dialogue(desk.book, "v1", "anna", first)
    assert [message["content"] for message in dialogue.messages] == ["why?", "two"]
    second = enter_written(desk.book, "v1", "anna", dialogue, "and then?", SIDES)
    shown = desk.next("anna")
    assert shown.item.item_id == second
    assert [message["role"] for message in shown.item.messages] == ["user", "assistant", "user"]
    assert shown.item.axis == "safety"
    with desk.book.reading() as connection:
        found = connection.execute("SELECT DISTINCT prompt_id FROM item").fetchall()
    assert len(found) == 1
    with pytest.raises(FormOutOfDateError):
        continue_dialogue(desk.book, "v1", "ben", first)


def test_what_cannot_become_a_pair_is_refused(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    desk.open(pair(1), batch_id="v2", written_prompts=True)
    with pytest.raises(FormOutOfDateError, match="takes no written prompts"):
        enter_written(desk.book, "v1", "anna", begin_dialogue("safety"), "why?", SIDES)
    with pytest.raises(InputError, match="the same"):
        enter_written(desk.book, "v2", "anna", begin_dialogue("safety"), "why?", (SIDES[0], SIDES[0]))
    with pytest.raises(InputError, match="axis"):
        begin_dialogue("beauty")
    assert next_item(desk.book, "v2", "anna") is not None
    assert batch_of(desk.book, "v2").waiting == 1
