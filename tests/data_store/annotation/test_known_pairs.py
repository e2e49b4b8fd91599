import json
from pathlib import Path

import pytest

from data_store.annotation.batches import batch_of, close_batch
from data_store.annotation.export import judgements
from data_store.annotation.judging import next_item
from data_store.annotation.known_pairs import drawn_checks, pairs_of_file, pairs_of_one_mind
from data_store.errors import InputError
from tests.data_store.annotation.pairs import Desk, pair

# pair → what four people say of it, and whether it then serves as a check
VERDICTS: dict[int, tuple[list[tuple[str, str]], bool]] = {
    1: ([("b", "better")] * 3 + [("b", "significantly_better")], True),
    2: ([("a", "better")] * 3 + [("b", "better")], False),  # three of four are not nine in ten
    3: ([("a", "better")] * 3 + [("a", "slightly_better")], False),  # one of them is not sure
    4: ([("a", "significantly_better")] * 4, True),
}


def judged(desk: Desk) -> None:
    """Four pairs, each judged by four people."""
    people = ["anna", "ben", "cleo", "dora"]
    desk.add(*people)
    desk.open(*(pair(number) for number in VERDICTS), people_per_item=4)
    for place, name in enumerate(people):
        for verdicts, _ in VERDICTS.values():
            desk.judge(name, *verdicts[place])


def test_pairs_on_which_people_were_of_one_mind_and_sure_are_known_once_their_batch_is_closed(desk: Desk) -> None:
    judged(desk)
    assert pairs_of_one_mind(desk.book) == []
    close_batch(desk.book, "v1", "done")
    known = pairs_of_one_mind(desk.book)
    assert [(one.prompt_id, one.known_choice) for one in known] == [("prompt-1", "b"), ("prompt-4", "a")]
    assert [number for number, (_, serves) in VERDICTS.items() if serves] == [1, 4]


def test_a_check_keeps_its_right_answer_on_whichever_side_it_comes_and_never_asks_the_batchs_own_prompts(
    desk: Desk,
) -> None:
    cut = {"finished_a": False, "finished_b": True}
    known = [pair(number, known_choice="a", key=f"check-{number}", **cut) for number in range(1, 41)]
    items = [pair(number) for number in (1, 2, 3)]
    checks = drawn_checks(known, items, 20)
    assert len(checks) == len({one.key for one in checks}) == 20
    assert {one.prompt_id for one in checks}.isdisjoint({"prompt-1", "prompt-2", "prompt-3"})
    for check in checks:
        right = check.response_a if check.known_choice == "a" else check.response_b
        assert right.startswith("answer A of")
        assert (check.finished_a, check.finished_b) == (check.known_choice == "b", check.known_choice == "a")
    assert {check.known_choice for check in checks} == {"a", "b"}
    assert drawn_checks(known, items, 20) == checks
    assert {one.key for one in drawn_checks(known, [pair(9)], 20)} != {one.key for one in checks}
    desk.add("anna")
    desk.open(*items, *checks, check_every=1)
    while shown := next_item(desk.book, "v1", "anna"):
        desk.judge("anna", "a" if shown.item.response_a.startswith("answer A of") else "b")
    assert batch_of(desk.book, "v1").done == 3
    assert {one.passed for one in judgements(desk.book, "v1")} == {None, True}


def test_a_file_says_which_answer_is_right(tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    row = {"prompt": "2 + 2?", "response_a": "4", "response_b": "a fish", "chosen": "a", "axis": "helpfulness"}
    file.write_text(json.dumps(row) + "\n")
    (known,) = pairs_of_file(file)
    assert (known.response_a, known.response_b, known.known_choice) == ("4", "a fish", "a")
    file.write_text(json.dumps({**row, "chosen": "c"}) + "\n")
    with pytest.raises(InputError, match=r"known\.jsonl"):
        pairs_of_file(file)


def test_a_file_of_known_pairs_may_have_both_axes_and_a_row_without_one_is_of_helpfulness(tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    row = {"prompt": "2 + 2?", "response_a": "4", "response_b": "a fish", "chosen": "a"}
    file.write_text(
        "".join(json.dumps(row | axis) + "\n" for axis in ({"axis": "safety"}, {}, {"axis": "helpfulness"}))
    )
    assert sorted(each.axis for each in pairs_of_file(file)) == ["helpfulness", "helpfulness", "safety"]
