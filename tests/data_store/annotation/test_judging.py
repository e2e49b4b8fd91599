from collections import Counter

import pytest

from data_store.annotation.batches import batch_of, close_batch
from data_store.annotation.export import judgements
from data_store.annotation.judging import (
    LEASE_SECONDS,
    FormOutOfDateError,
    Verdict,
    flag,
    judge,
    last_answer,
    next_item,
    undo,
)
from data_store.annotation.people import disable_annotator
from data_store.errors import InputError
from tests.data_store.annotation.pairs import START, Desk, pair

BETTER = Verdict("a", "better")


def test_each_pair_is_judged_by_n_people_and_never_twice_by_one(desk: Desk) -> None:
    desk.add("anna", "ben", "chris", "dora")
    desk.open(pair(1), pair(2), pair(3), people_per_item=2)
    working = ["anna", "ben", "chris", "dora"]
    while working:
        working = [name for name in working if next_item(desk.book, "v1", name)]
        for name in working:
            desk.judge(name)
    seen = Counter((one.item_id, one.annotator) for one in judgements(desk.book, "v1"))
    assert set(seen.values()) == {1}
    assert Counter(item for item, _ in seen) == {1: 2, 2: 2, 3: 2}
    assert batch_of(desk.book, "v1").done == 3


def test_a_pair_on_somebodys_screen_is_not_handed_to_another_until_its_lease_runs_out(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1))
    desk.next("anna")
    assert next_item(desk.book, "v1", "ben") is None
    desk.time[0] += LEASE_SECONDS - 1
    assert next_item(desk.book, "v1", "ben") is None
    desk.time[0] += 1
    assert desk.next("ben").item.item_id == 1


def test_the_same_pair_stays_on_the_screen_until_it_is_answered(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    assert desk.next("anna") == desk.next("anna")


def test_a_form_sent_twice_counts_once_and_the_first_sending_stands(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    form_key = desk.next("anna").form_key
    judge(desk.book, "anna", form_key, BETTER)
    judge(desk.book, "anna", form_key, Verdict("b", "slightly_better"))
    assert [(one.item_id, one.chosen) for one in judgements(desk.book, "v1")] == [(1, "a")]


def test_a_form_whose_lease_was_taken_over_is_refused_and_one_that_merely_ran_out_is_taken(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1), pair(2))
    late = desk.next("anna").form_key
    desk.time[0] += LEASE_SECONDS + 1
    taken_over = desk.next("ben").form_key
    with pytest.raises(FormOutOfDateError):
        judge(desk.book, "anna", late, BETTER)
    judge(desk.book, "ben", taken_over, BETTER)
    slow = desk.next("ben").form_key
    desk.time[0] += 10 * LEASE_SECONDS
    judge(desk.book, "ben", slow, BETTER)
    assert [(one.item_id, one.annotator) for one in judgements(desk.book, "v1")] == [(1, "ben"), (2, "ben")]


def test_a_form_of_another_person_is_refused(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1))
    with pytest.raises(FormOutOfDateError):
        judge(desk.book, "ben", desk.next("anna").form_key, BETTER)


def test_undo_supersedes_without_deleting_and_brings_the_pair_back_with_a_new_form(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    first = desk.next("anna")
    judge(desk.book, "anna", first.form_key, BETTER)
    desk.next("anna")  # the second pair is on the screen already
    last = last_answer(desk.book, "v1", "anna")
    assert last is not None
    undo(desk.book, "v1", "anna", last.answer_id)
    undo(desk.book, "v1", "anna", last.answer_id)  # sent twice: nothing more is undone
    again = desk.next("anna")
    assert again.item == first.item
    assert again.form_key != first.form_key
    judge(
        desk.book, "anna", first.form_key, BETTER
    )  # a copy of the old form comes late: it is known, and counts no more
    assert judgements(desk.book, "v1") == []
    judge(desk.book, "anna", again.form_key, Verdict("b", "better"))
    assert [(one.item_id, one.chosen) for one in judgements(desk.book, "v1")] == [(1, "b")]
    with desk.book.reading() as connection:
        kept = connection.execute("SELECT chosen FROM answer ORDER BY answer_id").fetchall()
    assert [row["chosen"] for row in kept] == ["a", "b"]


def test_only_the_last_answer_can_be_undone_and_none_of_a_closed_batch(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2))
    desk.judge("anna")
    first = last_answer(desk.book, "v1", "anna")
    desk.judge("anna")
    second = last_answer(desk.book, "v1", "anna")
    assert first is not None
    assert second is not None
    with pytest.raises(FormOutOfDateError):
        undo(desk.book, "v1", "anna", first.answer_id)
    close_batch(desk.book, "v1", "done")
    with pytest.raises(FormOutOfDateError):
        undo(desk.book, "v1", "anna", second.answer_id)
    assert last_answer(desk.book, "v1", "anna") is None
    assert len(judgements(desk.book, "v1")) == 2


def test_a_skipped_pair_goes_to_others_and_can_be_taken_back(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1))
    judge(desk.book, "anna", desk.next("anna").form_key, None)
    assert next_item(desk.book, "v1", "anna") is None
    assert desk.next("ben").item.item_id == 1
    desk.time[0] += LEASE_SECONDS + 1
    last = last_answer(desk.book, "v1", "anna")
    assert last is not None
    assert last.skipped
    undo(desk.book, "v1", "anna", last.answer_id)
    assert desk.judge("anna") == 1
    assert batch_of(desk.book, "v1").done == 1


@pytest.mark.parametrize(
    ("axis", "verdict", "wrong"),
    [
        ("safety", Verdict("a", "better", "chosen_unsafe_other_safe"), "chosen_unsafe_other_safe"),
        ("safety", Verdict("a", "better"), "safety label"),
        ("helpfulness", Verdict("a", "better", "both_safe"), "takes no safety label"),
        ("helpfulness", Verdict("c", "better"), "choice"),
        ("helpfulness", Verdict("a", "best"), "rating"),
    ],
)
def test_a_verdict_that_cannot_be_is_refused_and_nothing_is_written(
    desk: Desk, axis: str, verdict: Verdict, wrong: str
) -> None:
    desk.add("anna")
    desk.open(pair(1, axis))
    with pytest.raises(InputError, match=wrong):
        judge(desk.book, "anna", desk.next("anna").form_key, verdict)
    assert judgements(desk.book, "v1") == []


def test_time_on_a_pair_is_the_pages_but_never_more_than_has_passed(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1), pair(2), pair(3))
    for measured in (4_000, 900_000, None):
        shown = desk.next("anna")
        desk.time[0] += 10
        judge(desk.book, "anna", shown.form_key, BETTER, measured)
    assert [one.seconds for one in judgements(desk.book, "v1")] == [4.0, 10.0, 10.0]


def test_nothing_is_handed_out_once_the_quota_is_met_or_the_deadline_has_passed(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1), pair(2), pair(3), quota=1, deadline=START + 100)
    on_screen = desk.next("ben")
    desk.judge("anna")
    assert next_item(desk.book, "v1", "anna") is None
    judge(desk.book, "ben", on_screen.form_key, BETTER)  # what was on a screen counts
    assert batch_of(desk.book, "v1").done == 2

    desk.open(pair(1), pair(2), batch_id="v2", deadline=START + 100)
    assert next_item(desk.book, "v2", "anna") is not None
    desk.time[0] = START + 100
    assert next_item(desk.book, "v2", "ben") is None


def test_attention_checks_come_to_everybody_are_not_counted_and_say_who_passed(desk: Desk) -> None:
    desk.add("anna", "ben")
    checks = [pair(100 + number, known_choice="a") for number in range(2)]
    desk.open(*(pair(number) for number in range(12)), *checks, check_every=3, people_per_item=2)
    while next_item(desk.book, "v1", "anna"):
        desk.judge("anna", "a")
    while next_item(desk.book, "v1", "ben"):
        desk.judge("ben", "b")
    found = judgements(desk.book, "v1")
    assert Counter((one.annotator, one.passed) for one in found) == {
        ("anna", None): 12,
        ("ben", None): 12,
        ("anna", True): 2,
        ("ben", False): 2,
    }
    assert batch_of(desk.book, "v1").done == 12
    places = [place for place, one in enumerate(o for o in found if o.annotator == "anna") if one.passed is not None]
    assert 0 <= places[0] <= 3  # the first after 0 to 2 answers, the second after 3 to 5
    assert 4 <= places[1] <= 6


def test_a_note_is_kept_once_and_the_pair_stays_on_the_screen(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    shown = desk.next("anna")
    flag(desk.book, "anna", shown.form_key, " both are cut off ")
    flag(desk.book, "anna", shown.form_key, "both are cut off")
    assert desk.next("anna") == shown
    with desk.book.reading() as connection:
        assert [row["note"] for row in connection.execute("SELECT note FROM flag")] == ["both are cut off"]
    for note in ("  ", "x" * 2001):
        with pytest.raises(InputError, match="2000"):
            flag(desk.book, "anna", shown.form_key, note)


def test_the_pair_of_a_person_who_is_disabled_goes_to_others_at_once(desk: Desk) -> None:
    desk.add("anna", "ben")
    desk.open(pair(1))
    desk.next("anna")
    disable_annotator(desk.book, "anna")
    assert desk.next("ben").item.item_id == 1


def test_nobody_judges_in_a_closed_batch(desk: Desk) -> None:
    desk.add("anna")
    desk.open(pair(1))
    shown = desk.next("anna")
    close_batch(desk.book, "v1", "enough")
    with pytest.raises(FormOutOfDateError):
        judge(desk.book, "anna", shown.form_key, BETTER)
    assert next_item(desk.book, "v1", "anna") is None
