"""What people answered in Argilla and Label Studio: only what they submitted counts, and on the axis that was asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.file_options import FileOptions
from data_store.reading.preference_formats.registry import PreferenceOptions
from data_store.reading.preference_readers import read_preferences

FIELDS = {"prompt": "Q", "response_a": "x", "response_b": "y"}
RANKED = {"preference": {"value": [{"value": "response_a", "rank": 1}, {"value": "response_b", "rank": 2}]}}


def written(path: Path, *rows: Any) -> Path:
    path.write_text(json.dumps(list(rows)))
    return path


def outcome(path: Path, **options: Any) -> list[str]:
    """The chosen side of each row, and the reason of each refusal."""
    read = read_preferences([path], options=PreferenceOptions.model_validate(options))
    return [row["chosen"] for row in read.rows.to_pylist()] + [row["reason"] for row in read.refused.to_pylist()]


# --- Argilla ---------------------------------------------------------------------------------------------------------


def feedback(*responses: dict[str, Any]) -> dict[str, Any]:
    return {"fields": FIELDS, "metadata": {}, "responses": [{"user_id": "u", **each} for each in responses]}


@pytest.mark.conformance("a draft is a judgement", equation="data_store.reading.preference_formats.argilla:read")
@pytest.mark.parametrize(
    "other",
    [
        {"status": "discarded"},
        {"status": "discarded", "values": {}},
        {"status": "draft", "values": {"preference": {"value": [{"value": "response_a"}]}}},
        {"status": "draft", "values": RANKED},
        {"status": "draft", "values": None},
    ],
)
def test_a_status_comes_before_the_shape_of_an_answer(tmp_path: Path, other: dict[str, Any]) -> None:
    record = feedback({"status": "submitted", "values": RANKED}, other)
    assert outcome(written(tmp_path / "a.json", record)) == ["a", "not_submitted"]


@pytest.mark.conformance("a draft is a judgement", equation="data_store.reading.preference_formats.argilla:read")
def test_an_answer_without_a_status_is_no_judgement_unless_the_config_says_so(tmp_path: Path) -> None:
    answer = {"value": ["response_b", "response_a"], "user_id": "u"}
    sent = {"id": "r", "fields": FIELDS, "responses": {"preference": [{**answer, "status": "submitted"}]}}
    silent = {"id": "s", "fields": {**FIELDS, "prompt": "P"}, "responses": {"preference": [answer]}}
    file = written(tmp_path / "a.json", sent, silent)
    assert outcome(file) == ["b", "no_status"]
    assert outcome(file, argilla={"without_status": "keep"}) == ["b", "b"]
    with pytest.raises(InputError, match=r"records\.to_datasets, or set data\.preference_options\.argilla"):
        read_preferences([written(tmp_path / "b.json", silent)])


def test_flattened_records_keep_the_status_of_each_person(tmp_path: Path) -> None:
    flat = {
        **FIELDS,
        "status": "pending",
        "preference.responses": [["response_a", "response_b"], None, "response_b"],
        "preference.responses.users": ["u1", "u2", "u3"],
        "preference.responses.status": ["submitted", "draft", "submitted"],
    }
    assert outcome(written(tmp_path / "a.json", flat)) == ["a", "b", "not_submitted"]
    broken = {**flat, "preference.responses.status": ["submitted"]}
    with pytest.raises(InputError, match="'preference' has 3 answers, and 1 of status"):
        outcome(written(tmp_path / "b.json", broken))


def test_what_was_shown_with_the_prompt_belongs_to_it_and_a_rating_is_no_choice(tmp_path: Path) -> None:
    def record(value: Any, **more: str) -> dict[str, Any]:
        answers = [{"value": value, "user_id": "u", "status": "submitted"}]
        return {"fields": FIELDS | more, "responses": {"preference": answers}}

    read = read_preferences([written(tmp_path / "a.json", record("response_a", context="C"))])
    assert read.rows.to_pylist()[0]["messages"] == [{"role": "user", "content": "Q\n\nC"}]
    with pytest.raises(InputError, match="is 5: it rates one thing, and a ranking or a label of two is wanted"):
        outcome(written(tmp_path / "b.json", record(5)))


# --- Label Studio ----------------------------------------------------------------------------------------------------


def result(name: str, selected: Any, kind: str = "pairwise", field: str = "selected") -> dict[str, Any]:
    return {"from_name": name, "to_name": name, "type": kind, "value": {field: selected}}


def task(results: Any, number: int = 1, **annotation: Any) -> dict[str, Any]:
    data = {**FIELDS, "prompt": f"Q{number}"}
    return {"id": number, "data": data, "annotations": [{"completed_by": 7, "result": results, **annotation}]}


@pytest.mark.conformance(
    "a choice on one axis counts on both",
    equation="data_store.reading.preference_formats.label_studio_answers:compared",
)
def test_two_pairwise_tags_are_two_questions_and_each_axis_names_its_own(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", task([result("helpful", "left"), result("safe", "right")]))
    with pytest.raises(InputError, match=r"answers to 'helpful' and 'safe'.*\{path: …, question: helpful\}"):
        read_preferences([file])
    chosen = {
        axis: read_preferences([file], axis=axis, of_files={file: FileOptions(question=question)}).rows.to_pylist()
        for axis, question in (("helpfulness", "helpful"), ("safety", "safe"))
    }
    assert {axis: rows[0]["chosen"] for axis, rows in chosen.items()} == {"helpfulness": "a", "safety": "b"}


def test_none_and_null_results_and_other_answers_are_what_they_are(tmp_path: Path) -> None:
    rows = [
        task([result("pw", "left")], 1),
        task([result("pw", "none")], 2),
        task(None, 3),
        task([result("rating", ["Better"], "choices", "choices")], 4),
        task([result("pw", "right"), result("rating", ["Slightly better"], "choices", "choices")], 5),
    ]
    read = read_preferences([written(tmp_path / "a.json", *rows)])
    assert [row["rating"] for row in read.rows.to_pylist()] == ["better", "slightly_better"]
    assert [row["reason"] for row in read.refused.to_pylist()] == ["tie", "no_judgement", "no_judgement"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (task([result("note", ["x"], "textarea", "text")]), r"compares nothing: it answers 'note' \(textarea\)"),
        ({**task([]), "annotations": [1, 2]}, "numbers alone: the export is a snapshot without the answers"),
        (
            {"data": {"prompt": "Q", "left": "x"}, "annotations": [{"result": [result("pw", "left")]}]},
            r"no field 'response_a'; .*; data\.preference_options\.label_studio\.left names the field",
        ),
    ],
)
def test_a_project_that_compares_nothing_is_named_as_what_it_is(tmp_path: Path, row: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_preferences([written(tmp_path / "a.json", row)])


def test_choices_name_a_side_where_the_config_names_them(tmp_path: Path) -> None:
    rows = [task([result("better", [side], "choices", "choices")], number) for number, side in enumerate("AB")]
    file = written(tmp_path / "a.json", *rows, task([result("better", ["Tie"], "choices", "choices")], 9))
    assert outcome(file, label_studio={"question": "better"}) == ["a", "b", "tie"]


def test_a_csv_whose_cells_say_a_side_is_read_where_the_config_names_the_column(tmp_path: Path) -> None:
    file = tmp_path / "project.csv"
    head = "annotation_id,annotator,comparison,created_at,id,prompt,response_a,response_b\n"

    def row(number: int, cell: str, shown: str = "Q,x,y") -> str:
        return f"{number},anna,{cell},2026-01-01,{number},{number} {shown}\n"

    shown = "which way?,Left,Right"  # no answer, though it says a side
    file.write_text(head + row(1, '"[{""selected"":""right""}]"', shown) + row(2, "", shown))
    assert outcome(file) == ["b", "no_judgement"]
    file.write_text(head + row(1, "left") + row(2, "Right") + row(3, ""))
    with pytest.raises(InputError, match=r"project\.csv line 2.*field 'comparison' says 'left'.*question: comparison"):
        outcome(file)
    assert outcome(file, label_studio={"question": "comparison"}) == ["a", "b", "no_judgement"]


def test_a_ranker_gives_a_pair_for_every_two_items(tmp_path: Path) -> None:
    ranked = task([result("r", {"best": ["z", "x", "y"]}, "ranker", "ranker")])
    ranked["data"]["items"] = [{"id": name, "title": name, "body": f"text {name}"} for name in "xyz"]
    rows = read_preferences([written(tmp_path / "a.json", ranked)]).rows.to_pylist()
    better = [(row[f"response_{row['chosen']}"], row["source"].rpartition("#")[2]) for row in rows]
    assert better == [("text x", "0"), ("text z", "1"), ("text z", "2")]


def test_ratings_of_both_sides_are_compared(tmp_path: Path) -> None:
    def rated(left: int, right: int, number: int) -> dict[str, Any]:
        sides = {"response_a": left, "response_b": right}
        results = [{"from_name": f"r{n}", "to_name": side, "type": "rating", "value": {"rating": stars}}
                   for n, (side, stars) in enumerate(sides.items())]  # fmt: skip
        return task(results, number)

    read = read_preferences([written(tmp_path / "a.json", rated(5, 2, 1), rated(3, 4, 2), rated(3, 3, 3))])
    assert [(row["chosen"], row["rating"]) for row in read.rows.to_pylist()] == [
        ("a", "significantly_better"),
        ("b", "slightly_better"),
    ]
    assert read.refused_counts() == {"tie": 1}
