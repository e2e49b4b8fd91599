from dataclasses import replace

import pytest

from data_store.annotation.batches import batch_of, close_batch
from data_store.annotation.export import handed_rows
from data_store.annotation.judging import FormOutOfDateError, Verdict, judge, next_item
from data_store.annotation.live import LiveResponse
from data_store.annotation.writing import begin_dialogue, continue_dialogue, enter_written
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk, pair

SIDES = (
    LiveResponse("one", "new", 700, 11, token_ids=(5, 2), tokenizer="tok"),
    LiveResponse("two", "old", 1000, 12, finished=False, token_ids=(6, 7), tokenizer="tok"),
)


def test_a_written_prompt_is_a_pair_that_its_writer_judges_first_and_others_after(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1), quota=5, people_per_item=2, written_prompts=True)
    item = enter_written(desk.book, "v1", "anna", begin_dialogue("helpfulness"), "why?", SIDES, "form-1")
    shown = desk.next("anna")
    assert (shown.item.item_id, shown.item.response_a, shown.item.response_b) == (item, "one", "two")
    judge(desk.book, "anna", shown.form_key, Verdict("b", "better"))
    desk.judge("ben")
    assert desk.judge("ben") == item
    assert batch_of(desk.book, "v1").done == 1


def test_a_dialogue_goes_on_with_the_response_that_was_chosen_and_keeps_its_prompt_id(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(quota=5, written_prompts=True)
    first = enter_written(desk.book, "v1", "anna", begin_dialogue("safety"), "why?", SIDES, "form-1")
    with pytest.raises(FormOutOfDateError):  # not judged yet
        continue_dialogue(desk.book, "v1", "anna", first)
    desk.judge("anna", "b")
    dialogue = continue_dialogue(desk.book, "v1", "anna", first)
    assert [message["content"] for message in dialogue.messages] == ["why?", "two"]
    second = enter_written(desk.book, "v1", "anna", dialogue, "and then?", SIDES, "form-2")
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
        enter_written(desk.book, "v1", "anna", begin_dialogue("safety"), "why?", SIDES, "form-1")
    with pytest.raises(InputError, match="the same"):
        enter_written(desk.book, "v2", "anna", begin_dialogue("safety"), "why?", (SIDES[0], SIDES[0]), "form-1")
    with pytest.raises(InputError, match="axis"):
        begin_dialogue("beauty")
    assert next_item(desk.book, "v2", "anna") is not None
    assert batch_of(desk.book, "v2").waiting == 1


def test_a_form_that_is_sent_twice_is_one_pair(desk: Desk) -> None:
    desk.add("anna")
    desk.open(quota=5, written_prompts=True)
    start = begin_dialogue("helpfulness")
    first = enter_written(desk.book, "v1", "anna", start, "why?", SIDES, "form-1")
    assert enter_written(desk.book, "v1", "anna", start, "why?", SIDES[::-1], "form-1") == first
    assert enter_written(desk.book, "v1", "anna", start, "why?", SIDES, "form-2") != first
    assert batch_of(desk.book, "v1").waiting == 2


def test_what_it_takes_to_draw_both_responses_again_is_kept_and_the_row_names_who_wrote_and_who_answered(
    desk: Desk,
) -> None:
    desk.add("anna")
    desk.open(pair(1), quota=2, written_prompts=True)
    item = enter_written(desk.book, "v1", "anna", begin_dialogue("helpfulness"), "why?", SIDES, "form-1")
    with desk.book.reading() as connection:
        drawn = connection.execute("SELECT * FROM live_response ORDER BY side").fetchall()
    assert [tuple(row) for row in drawn] == [(item, "a", 11, 1), (item, "b", 12, 0)]
    desk.judge("anna")
    desk.judge("anna")
    close_batch(desk.book, "v1", "done")
    drafted, written = handed_rows(desk.book, "v1").to_pylist()
    assert (drafted["source"], written["source"]) == ("test", "test, written by anna")
    assert [written[f"policy_version_{side}"] for side in "ab"] == ["new", "old"]
    assert [written[f"temperature_milli_{side}"] for side in "ab"] == [700, 1000]
    assert [written[f"finished_{side}"] for side in "ab"] == [True, False]
    assert [written[f"token_ids_{side}"] for side in "ab"] == [[5, 2], [6, 7]]
    assert written["tokenizer"] == "tok"


def test_a_pair_of_two_tokenizers_is_its_texts(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), quota=1, written_prompts=True)
    other = replace(SIDES[1], tokenizer="another")
    enter_written(desk.book, "v1", "anna", begin_dialogue("helpfulness"), "why?", (SIDES[0], other), "form-1")
    desk.judge("anna")
    close_batch(desk.book, "v1", "done")
    (row,) = handed_rows(desk.book, "v1").to_pylist()
    assert [row[name] for name in ("tokenizer", "token_ids_a", "token_ids_b")] == [None, None, None]
    assert [row[f"finished_{side}"] for side in "ab"] == [True, False]
