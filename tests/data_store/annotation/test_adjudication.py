import pytest

from data_store.annotation.adjudication import case_of, cases, decide
from data_store.annotation.batches import batch_of, close_batch
from data_store.annotation.export import handed_rows, judgements
from data_store.annotation.judging import FormOutOfDateError, Verdict, flag, judge, last_answer, undo
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk, pair

DECIDED = Verdict("b", "significantly_better")


@pytest.fixture
def disputed(desk: Desk) -> Desk:
    """Pair 1 is disputed, pair 2 is not, pair 3 is disputed by nobody who is sure, pair 4 by its labels alone."""
    desk.add("anna", "ben")
    desk.add("judith", adjudicator=True)
    desk.open(pair(1), pair(2), pair(3), pair(4, "safety"), people_per_item=2)
    for chosen, rating in (("a", "better"), ("a", "better"), ("a", "negligibly_better")):
        desk.judge("anna", chosen, rating)
    desk.judge("anna", "a", label="chosen_safe_other_unsafe")
    for chosen, rating in (("b", "slightly_better"), ("a", "negligibly_better"), ("b", "negligibly_better")):
        desk.judge("ben", chosen, rating)
    desk.judge("ben", "a", label="both_safe")
    return desk


def test_unlike_judgements_are_listed_with_who_said_what(disputed: Desk) -> None:
    found = cases(disputed.book, "judith")
    assert [case.item.item_id for case in found] == [1, 4]
    assert [(one.name, one.verdict and one.verdict.chosen) for one in found[0].opinions] == [
        ("anna", "a"),
        ("ben", "b"),
    ]
    assert case_of(disputed.book, "judith", 2) is None


def test_a_decision_stands_in_place_of_the_judgements(disputed: Desk) -> None:
    decide(disputed.book, "judith", 1, DECIDED)
    decide(disputed.book, "judith", 1, Verdict("a", "better"))  # sent again: the first stands
    close_batch(disputed.book, "v1", "done")
    rows = handed_rows(disputed.book, "v1").to_pylist()
    assert [(row["prompt_id"], row["annotator"], row["chosen"]) for row in rows] == [
        ("prompt-1", "judith", "b"),
        ("prompt-2", "anna", "a"),
        ("prompt-2", "ben", "a"),
        ("prompt-3", "anna", "a"),
        ("prompt-3", "ben", "b"),
        ("prompt-4", "anna", "a"),
        ("prompt-4", "ben", "a"),
    ]
    assert [one.superseded for one in judgements(disputed.book, "v1")] == [True, False, False, False] * 2


def test_a_dropped_pair_is_no_row_and_counts_for_nothing(disputed: Desk) -> None:
    decide(disputed.book, "judith", 1, None)
    assert batch_of(disputed.book, "v1").done == 3
    close_batch(disputed.book, "v1", "done")
    rows = handed_rows(disputed.book, "v1").to_pylist()
    assert {row["prompt_id"] for row in rows} == {"prompt-2", "prompt-3", "prompt-4"}


def test_nobody_decides_without_the_role_or_on_what_they_judged(disputed: Desk) -> None:
    disputed.add("jo", adjudicator=True)
    with pytest.raises(InputError, match="anna cannot decide"):
        decide(disputed.book, "anna", 1, DECIDED)
    disputed.open(pair(1), batch_id="v2")
    assert [case.item.item_id for case in cases(disputed.book, "jo")] == [1, 4]
    with disputed.book.writing() as connection:  # jo has judged pair 1 as well
        connection.execute(
            "INSERT INTO answer (form_key, item_id, name, milliseconds, at, chosen, rating) "
            "VALUES ('f', 1, 'jo', 0, 0, 'a', 'better')"
        )
    assert [case.item.item_id for case in cases(disputed.book, "jo")] == [4]
    with pytest.raises(InputError, match="jo cannot decide"):
        decide(disputed.book, "jo", 1, DECIDED)


def test_a_second_adjudicator_comes_too_late_and_answers_can_no_longer_be_undone(disputed: Desk) -> None:
    disputed.add("jo", adjudicator=True)
    decide(disputed.book, "judith", 4, Verdict("a", "better", "both_safe"))
    with pytest.raises(FormOutOfDateError):
        decide(disputed.book, "jo", 4, Verdict("a", "better", "both_safe"))
    last = last_answer(disputed.book, "v1", "ben")
    assert last is not None
    with pytest.raises(FormOutOfDateError, match="adjudicator"):
        undo(disputed.book, "v1", "ben", last.answer_id)


def test_a_decision_follows_the_rule_of_the_labels(disputed: Desk) -> None:
    for wrong in (Verdict("a", "better"), Verdict("a", "better", "chosen_unsafe_other_safe")):
        with pytest.raises(InputError, match="safety label"):
            decide(disputed.book, "judith", 4, wrong)
    assert case_of(disputed.book, "judith", 4) is not None


def test_a_note_brings_a_pair_up_before_its_judgements_are_in(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.add("judith", adjudicator=True)
    desk.open(pair(1), people_per_item=2)
    shown = desk.next("anna")
    flag(desk.book, "anna", shown.form_key, "the second answer is cut off")
    (case,) = cases(desk.book, "judith")
    assert case.notes == (("anna", "the second answer is cut off"),)
    decide(desk.book, "judith", 1, None)
    with pytest.raises(FormOutOfDateError):  # it was on anna's screen
        judge(desk.book, "anna", shown.form_key, Verdict("a", "better"))
    assert batch_of(desk.book, "v1").waiting == 0
