import pytest

from data_store.annotation.batches import close_batch
from data_store.annotation.export import handed_rows, judgements
from data_store.annotation.judging import Verdict, flag, judge, next_item
from data_store.errors import InputError
from data_store.rows import ROW_KINDS
from tests.data_store.annotation.pairs import START, Desk, pair


def test_a_closed_batch_is_rows_of_kind_preference_with_the_words_people_gave(desk: Desk) -> None:
    desk.add("anna")
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "안녕\n<b>?"},
    ]
    sampled = {"token_ids_a": [4, 2], "token_ids_b": [7], "finished_a": True, "finished_b": False, "tokenizer": "tok"}
    desk.open(pair(1, "safety", messages=history, **sampled), pair(2), pair(3, known_choice="a"), check_every=1)
    while shown := next_item(desk.book, "v1", "anna"):
        label = "chosen_safe_other_unsafe" if shown.item.axis == "safety" else None
        desk.judge("anna", "b", "slightly_better", label)
    close_batch(desk.book, "v1", "done")
    table = handed_rows(desk.book, "v1")
    assert table.schema == ROW_KINDS["preference"].schema
    first, second = table.to_pylist()
    assert {name: first[name] for name in first if name != "preference_id"} == {
        "source": "test",
        "prompt_id": "prompt-1",
        "axis": "safety",
        "iteration": "V1",
        "split": None,
        "messages": history,
        "response_a": "answer A of 1",
        "response_b": "answer B of 1",
        **sampled,
        "policy_version_a": "new",
        "policy_version_b": "old",
        "temperature_milli_a": 700,
        "temperature_milli_b": 1000,
        "chosen": "b",
        "rating": "slightly_better",
        "safety_label": "chosen_safe_other_unsafe",
        "annotator": "anna",
    }
    assert (second["split"], second["safety_label"]) == (None, None)
    assert {second[name] for name in ("tokenizer", "finished_a", "finished_b")} == {None}
    assert (second["token_ids_a"], second["token_ids_b"]) == (None, None)
    assert handed_rows(desk.book, "v1").column("preference_id").to_pylist() == [
        first["preference_id"],
        second["preference_id"],
    ]  # read again, it is the same


def test_an_open_batch_is_not_exported(desk: Desk) -> None:
    desk.open(pair(1))
    with pytest.raises(InputError, match="still open"):
        handed_rows(desk.book, "v1")


def test_batches_are_read_apart(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    desk.open(pair(1), batch_id="v2")
    desk.judge("anna", "b")
    for batch_id in ("v1", "v2"):
        close_batch(desk.book, batch_id, "done")
    assert handed_rows(desk.book, "v1").num_rows == 1
    assert handed_rows(desk.book, "v2").num_rows == 0


def test_statistics_see_time_annotator_and_notes(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    shown = desk.next("anna")
    flag(desk.book, "anna", shown.form_key, "odd")
    desk.time[0] += 12.5
    judge(desk.book, "anna", shown.form_key, Verdict("a", "better"))
    (one,) = judgements(desk.book, "v1")
    assert (one.annotator, one.seconds, one.at, one.flagged, one.passed) == ("anna", 12.5, START + 12.5, True, None)
