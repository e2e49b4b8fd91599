"""Preference data of others: OpenAssistant trees, scored completions, Argilla and Label Studio."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.containers import read_records
from data_store.reading.preference_formats.options import RatingGaps
from data_store.reading.preference_formats.registry import PreferenceOptions
from data_store.reading.preference_readers import read_preferences
from data_store.reading.source_files import source_files

REAL = Path(__file__).parents[4] / "shared" / "data" / "preference"
SIGNIFICANTLY, BETTER, SLIGHTLY, NEGLIGIBLY = (
    "significantly_better",
    "better",
    "slightly_better",
    "negligibly_better",
)


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judgements(path: Path, **options: Any) -> dict[str, tuple[str, str, str]]:
    """source → (better, worse, rating)."""
    rows = read_preferences([path], options=PreferenceOptions(**options)).rows.to_pylist()
    other = {"a": "b", "b": "a"}
    return {
        row["source"]: (row[f"response_{row['chosen']}"], row[f"response_{other[row['chosen']]}"], row["rating"])
        for row in rows
    }


def refused(path: Path, **options: Any) -> dict[str, str]:
    """source → reason."""
    rows = read_preferences([path], options=PreferenceOptions(**options)).refused.to_pylist()
    return {row["source"]: row["reason"] for row in rows}


# --- OpenAssistant ---------------------------------------------------------------------------------------------------


def message(role: str, text: str, *replies: Any, **fields: Any) -> dict[str, Any]:
    flags = {"lang": "en", "review_result": True, "deleted": False, "synthetic": False}
    return {"role": role, "text": text, **flags, **fields, "replies": list(replies)}


def tree(*replies: Any, **fields: Any) -> dict[str, Any]:
    return {
        "message_tree_id": "t",
        "tree_state": "ready_for_export",
        "prompt": message("prompter", "Q", *replies, **fields),
    }


def reply(text: str, rank: int | None, *replies: Any, **fields: Any) -> dict[str, Any]:
    return message("assistant", text, *replies, rank=rank, **fields)


GOOD = tree(reply("x", 0), reply("y", 1))


def test_every_two_ranked_replies_become_a_pair_and_the_gap_its_rating(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "t.jsonl", tree(reply("third", 2), reply("best", 0), reply("second", 1), reply("last", 3)))
    assert judgements(file) == {
        "t.jsonl:1#0": ("best", "third", BETTER),
        "t.jsonl:1#1": ("second", "third", SLIGHTLY),
        "t.jsonl:1#2": ("third", "last", SLIGHTLY),
        "t.jsonl:1#3": ("best", "second", SLIGHTLY),
        "t.jsonl:1#4": ("best", "last", SIGNIFICANTLY),
        "t.jsonl:1#5": ("second", "last", BETTER),
    }
    gaps = {"significantly_better": 9, "better": 3, "slightly_better": 2}
    assert {rating for _, _, rating in judgements(file, rank_gaps=gaps).values()} == {BETTER, SLIGHTLY, NEGLIGIBLY}


def test_the_prompt_of_a_pair_is_the_whole_branch_above_it(tmp_path: Path) -> None:
    deeper = message("prompter", "More?", reply("yes", 0), reply("no", 1))
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(tree(reply("A", None, deeper))).encode()))
    (row,) = read_preferences([file]).rows.to_pylist()
    turns = [("user", "Q"), ("assistant", "A"), ("user", "More?")]
    assert row["messages"] == [{"role": role, "content": text} for role, text in turns]
    assert (row["annotator"], row["source"]) == ("import:oasst", "t.jsonl.gz:1#0")


@pytest.mark.parametrize(
    ("bad", "options", "reason"),
    [
        (tree(reply("x", 0, deleted=True), reply("y", 1)), {}, "deleted"),
        (tree(reply("x", 0), reply("y", 1, synthetic=True)), {}, "synthetic"),
        (tree(reply("x", 0), reply("y", 1, review_result=None)), {}, "not_reviewed"),
        (tree(reply("x", 0), reply("y", 1, review_result=False)), {"unreviewed": "keep"}, "failed_review"),
        (tree(reply("x", 0), reply("y", 1), deleted=True), {}, "deleted"),
        (tree(reply("x", 0), reply("y", 1), lang="de"), {"languages": ["en"]}, "other_language"),
        (tree(reply("x", 0), reply("y", None)), {}, "no_rank"),
        (tree(reply("x", 0), reply("y", 0)), {}, "tie"),
        (tree(reply("x", 0), reply(" ", 1)), {}, "empty_answer"),
        (tree(reply("x", 0), reply("x ", 1)), {}, "identical_responses"),
    ],
)
def test_what_no_pair_may_hold_is_refused_by_name(
    tmp_path: Path, bad: dict[str, Any], options: Mapping[str, Any], reason: str
) -> None:
    file = jsonl(tmp_path / "t.jsonl", GOOD, bad)
    assert refused(file, **options) == {"t.jsonl:2#0": reason}
    assert list(judgements(file, **options)) == ["t.jsonl:1#0"]


def test_what_is_kept_on_request_and_what_is_no_tree_of_pairs(tmp_path: Path) -> None:
    odd = tree(reply("x", 0, synthetic=True), reply("y", 1, review_result=None))
    file = jsonl(tmp_path / "t.jsonl", odd, tree(reply("x", 0)), {**GOOD, "tree_state": "growing"})
    options = {"synthetic": "keep", "unreviewed": "keep"}
    assert judgements(file, **options) == {"t.jsonl:1#0": ("x", "y", SLIGHTLY)}
    assert refused(file, **options) == {"t.jsonl:2": "no_pair", "t.jsonl:3": "tree_not_finished"}


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (
            tree(reply("x", 0), message("system", "y")),
            r"line 2: field 'prompt\.replies\[1\]\.role' is 'system'; use one of",
        ),
        (tree(reply("x", 0), reply("y", "1")), r"field 'prompt\.replies\[1\]\.rank' is '1'; give a whole number"),  # type: ignore[arg-type]
        (tree(reply("x", 0), {"text": "y"}), r"line 2: there is no field 'prompt\.replies\[1\]\.role'"),
        (tree(reply("x", 0, deleted="no"), reply("y", 1)), r"\.deleted' is 'no'; use true, false or null"),
        ({**GOOD, "prompt": {**GOOD["prompt"], "replies": {}}}, r"field 'prompt\.replies' must be a list"),
    ],
)
def test_a_broken_tree_stops_with_file_line_and_field(tmp_path: Path, bad: dict[str, Any], complaint: str) -> None:
    file = jsonl(tmp_path / "t.jsonl", GOOD, bad)
    with pytest.raises(InputError, match=complaint) as caught:
        read_preferences([file])
    assert str(file) in str(caught.value)


# --- scores ----------------------------------------------------------------------------------------------------------


def ultrafeedback(*scores: Any) -> dict[str, Any]:
    completions = [{"response": f"r{n}", "overall_score": score, "model": "m"} for n, score in enumerate(scores)]
    return {"source": "s", "instruction": "Q", "models": [], "completions": completions}


def test_completions_with_scores_become_pairs_rated_by_the_gap(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "u.jsonl", ultrafeedback(8.5, 4.5, 7.5, "8"), ultrafeedback(3, 3, "N/A"), ultrafeedback(1))
    assert judgements(file) == {
        "u.jsonl:1#0": ("r0", "r1", SIGNIFICANTLY),  # 4
        "u.jsonl:1#1": ("r0", "r2", SLIGHTLY),  # 1
        "u.jsonl:1#2": ("r0", "r3", NEGLIGIBLY),  # 0.5
        "u.jsonl:1#3": ("r2", "r1", BETTER),  # 3
        "u.jsonl:1#4": ("r3", "r1", BETTER),  # 3.5
        "u.jsonl:1#5": ("r3", "r2", NEGLIGIBLY),
    }
    reasons = {"u.jsonl:2#0": "tie", "u.jsonl:2#1": "no_score", "u.jsonl:2#2": "no_score", "u.jsonl:3": "no_pair"}
    assert refused(file) == reasons


def test_the_score_may_lie_deeper_and_the_thresholds_are_the_configs(tmp_path: Path) -> None:
    record = ultrafeedback(1, 1)
    for completion, rating in zip(record["completions"], ("5", "3"), strict=True):
        completion["annotations"] = {"helpfulness": {"Rating": rating}}
    file = jsonl(tmp_path / "u.jsonl", record)
    options: dict[str, Any] = {"score_field": "annotations.helpfulness.Rating"}
    assert judgements(file, **options) == {"u.jsonl:1#0": ("r0", "r1", BETTER)}
    options["score_gaps"] = {"significantly_better": 2, "better": 1, "slightly_better": 0.5}
    assert judgements(file, **options) == {"u.jsonl:1#0": ("r0", "r1", SIGNIFICANTLY)}
    with pytest.raises(
        InputError, match=r"line 1 completion 0: there is no score 'annotations\.honesty'.* helpfulness"
    ):
        judgements(file, score_field="annotations.honesty")
    with pytest.raises(InputError, match=r"score 'model' is 'm'; give a number"):
        judgements(file, score_field="model")


def test_lines_with_one_prompt_are_answers_to_it_and_a_pair_names_both_lines(tmp_path: Path) -> None:
    def line(prompt: str, response: str, helpfulness: int) -> dict[str, Any]:
        return {"prompt": prompt, "response": response, "helpfulness": helpfulness, "verbosity": 4 - helpfulness}

    rows = [
        line("P", "x", 1),
        line("P", "y", 4),
        line("P", "z", 3),
        line("alone", "x", 2),
        line("Q", "a", 2),
        line("Q", "b", 2),
    ]
    file = jsonl(tmp_path / "h.jsonl", *rows)
    assert judgements(file) == {
        "h.jsonl:1+2": ("y", "x", SIGNIFICANTLY),
        "h.jsonl:1+3": ("z", "x", BETTER),
        "h.jsonl:2+3": ("y", "z", SLIGHTLY),
    }
    assert refused(file) == {"h.jsonl:4": "no_pair", "h.jsonl:5+6": "tie"}
    assert judgements(file, score_field="verbosity")["h.jsonl:1+2"][0] == "x"


@pytest.mark.parametrize("gaps", [(1, 2, 3), (3, 3, 1), (3, 2, 0)])
def test_thresholds_that_do_not_fall_to_something_above_nothing_are_refused(gaps: tuple[int, int, int]) -> None:
    names = (SIGNIFICANTLY, BETTER, SLIGHTLY)
    with pytest.raises(ValueError, match=r"larger difference|greater than 0"):
        RatingGaps(**dict(zip(names, gaps, strict=True)))


def test_pairs_of_published_sets_with_messages_and_scores(tmp_path: Path) -> None:
    user, good, bad = (
        {"role": role, "content": text} for role, text in (("user", "Q"), ("assistant", "good"), ("assistant", "bad"))
    )
    file = jsonl(
        tmp_path / "d.jsonl",
        {
            "prompt": "Q",
            "chosen": [user, good],
            "rejected": [user, bad],
            "score_chosen": 8,
            "score_rejected": 6.5,
            "id": 1,
        },
        {"prompt": [user], "chosen": [good], "rejected": [bad], "rating": BETTER, "safety_label": "both_safe"},
        {"chosen": [user, good], "rejected": [{**user, "content": "other"}, bad]},
        {"chosen": [user, good], "rejected": [user, bad], "score_chosen": 2, "score_rejected": 2},
    )
    assert judgements(file) == {"d.jsonl:1": ("good", "bad", SLIGHTLY), "d.jsonl:2": ("good", "bad", BETTER)}
    assert refused(file) == {"d.jsonl:3": "prompts_differ", "d.jsonl:4": "tie"}


# --- Argilla ---------------------------------------------------------------------------------------------------------


def record(responses: Any, **fields: str) -> dict[str, Any]:
    texts = {"prompt": "Q", "first": "x", "second": "y", **fields}
    return {"id": "r", "fields": texts, "metadata": {}, "suggestions": {}, "responses": responses, "vectors": {}}


def ranking(*names: str, user: str = "u1") -> dict[str, Any]:
    return {"preference": [{"value": list(names), "user_id": user, "status": "submitted"}]}


def answered(**questions: Any) -> dict[str, Any]:
    return {name: [{"value": value, "user_id": "u1", "status": "submitted"}] for name, value in questions.items()}


def test_a_ranking_of_two_says_which_is_better_and_one_of_three_by_how_much(tmp_path: Path) -> None:
    three = record(ranking("third", "first", "second"), third="z")
    rated = record(
        ranking("second", "first") | {"rating": [{"value": SIGNIFICANTLY, "user_id": "u1", "status": "submitted"}]}
    )
    file = tmp_path / "a.json"
    file.write_text(json.dumps([record(ranking("second", "first")), three, rated], indent=1))
    lines = file.read_text().splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line == " {"]
    assert judgements(file) == {
        f"a.json:{starts[0]}#0#0": ("y", "x", BETTER),  # the default
        f"a.json:{starts[1]}#1#0": ("z", "x", SLIGHTLY),
        f"a.json:{starts[1]}#1#1": ("z", "y", BETTER),
        f"a.json:{starts[1]}#1#2": ("x", "y", SLIGHTLY),
        f"a.json:{starts[2]}#2#0": ("y", "x", SIGNIFICANTLY),
    }
    assert {row["annotator"] for row in read_preferences([file]).rows.to_pylist()} == {"argilla:u1"}


def test_feedback_records_with_ranks_ties_labels_and_drafts(tmp_path: Path) -> None:
    def old(value: Any, status: str = "submitted") -> dict[str, Any]:
        return record([{"user_id": "u", "values": {"preference": {"value": value}}, "status": status}])

    def ranks(first: int, second: int) -> list[dict[str, Any]]:
        return [{"rank": first, "value": "first"}, {"rank": second, "value": "second"}]

    rows = [old(ranks(2, 1)), old(ranks(1, 1)), old("first"), old("tie"), old(ranks(1, 2), "draft"), record({})]
    file = jsonl(tmp_path / "a.jsonl", *rows)
    assert judgements(file) == {"a.jsonl:1#0": ("y", "x", BETTER), "a.jsonl:3#0": ("x", "y", BETTER)}
    reasons = ["tie", "tie", "not_submitted", "no_judgement"]
    assert list(refused(file).values()) == reasons


@pytest.mark.parametrize(
    ("responses", "complaint"),
    [
        ({"other": []}, "line 1: there is no question 'preference' among other"),
        (
            ranking("first", "fourth"),
            "names 'fourth', which is no field with a response; there are prompt, first, second",
        ),
        (
            {"preference": [{"value": "third", "status": "submitted"}]},
            "is 'third'; a label must name one of two response fields",
        ),
        (
            ranking("first", "second") | answered(rating="much"),
            "field 'rating' is 'much'; use one",
        ),
    ],
)
def test_an_argilla_record_that_says_something_unknown_is_named(tmp_path: Path, responses: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_preferences([jsonl(tmp_path / "a.jsonl", record(responses))])


# --- Label Studio ----------------------------------------------------------------------------------------------------


def task(selected: str | None, *, cancelled: bool = False, **choices: str) -> dict[str, Any]:
    result: list[dict[str, Any]] = [
        {"from_name": name, "to_name": "t", "type": "choices", "value": {"choices": [value]}}
        for name, value in choices.items()
    ]
    if selected is not None:
        result.append({"from_name": "pw", "to_name": "t1,t2", "type": "pairwise", "value": {"selected": selected}})
    data = {"prompt": "Q", "text1": "x", "text2": "y"}
    return {"id": 1, "data": data, "annotations": [{"completed_by": 7, "was_cancelled": cancelled, "result": result}]}


FIELDS = {"label_studio": {"left": "text1", "right": "text2"}}


def test_the_selected_side_of_a_pairwise_task_is_the_chosen_response(tmp_path: Path) -> None:
    rows = [
        task("right", rating=SLIGHTLY, safety_label="both_safe"),
        task("left"),
        task(None),
        task("left", cancelled=True),
    ]
    file = tmp_path / "l.json"
    file.write_text(json.dumps([*rows, {**task("left"), "annotations": []}]))  # all on one line
    assert judgements(file, **FIELDS) == {"l.json:1#0#0": ("y", "x", SLIGHTLY), "l.json:1#1#0": ("x", "y", BETTER)}
    assert refused(file, **FIELDS) == {
        "l.json:1#2#0": "no_judgement",
        "l.json:1#3#0": "skipped",
        "l.json:1#4": "no_judgement",
    }
    first, second = read_preferences([file], options=PreferenceOptions.model_validate(FIELDS)).rows.to_pylist()
    assert (first["response_a"], first["chosen"], first["annotator"]) == ("x", "b", "label_studio:7")
    assert (first["safety_label"], second["safety_label"]) == ("both_safe", None)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (task("middle"), r"line 1 \(record 0\): annotations\[0\] selected 'middle'; use one of left, right"),
        (task("left", rating="great"), "field 'rating' is 'great'; use one of significantly_better"),
        ({**task("left"), "data": {"prompt": "Q"}}, "there is no field 'text1'; the fields are prompt"),
        ({**task("left"), "annotations": 1}, "field 'annotations' must be a list; export the project as JSON"),
    ],
)
def test_a_task_that_says_something_unknown_is_named(tmp_path: Path, row: Any, complaint: str) -> None:
    file = tmp_path / "l.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(InputError, match=complaint):
        judgements(file, **FIELDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"data"', "line 1: a list of JSON objects is wanted"),
        ('[\n{"a": 1}\n{"a": 2}]', "line 3: a list of JSON objects is wanted"),
        ('[\n{"a": }]', r"line 2 \(record 0\): not JSON"),
        ("[1]", r"line 1 \(record 0\): a JSON object is wanted, not a number"),
        ('[{"a": 1},\n]', "line 1: a list of JSON objects is wanted"),
    ],
)
def test_a_broken_list_is_named_by_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "l.json"
    file.write_text(text)
    with pytest.raises(InputError, match=complaint):
        list(read_records(source_files([file])[0]))


def test_a_file_of_no_known_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "x.jsonl", {"question": "Q", "answer": "A"})
    with pytest.raises(
        InputError, match=r"x\.jsonl line 1: no known format .* fields question, answer; set data\.preference_format"
    ):
        read_preferences([file])


# --- real sets -------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"real data is absent: there is no folder {REAL}")
def test_each_row_of_hh_and_openassistant_leads_to_its_file_and_line() -> None:
    hh = [REAL / "hh_helpful.jsonl.gz", REAL / "hh_harmless.jsonl.gz"]
    read = read_preferences(hh)
    assert len(read.rows) + len(read.refused) == 1370 + 1372
    lines = {path.name: gzip.decompress(path.read_bytes()).decode().splitlines() for path in hh}
    for row in read.rows.to_pylist():
        name, number = row["source"].rsplit(":", 1)
        said = json.loads(lines[name][int(number) - 1])
        other = "b" if row["chosen"] == "a" else "a"
        assert said["chosen"].rstrip().endswith(row[f"response_{row['chosen']}"])
        assert said["rejected"].rstrip().endswith(row[f"response_{other}"])
    trees = (REAL / "oasst_trees.jsonl").read_text().splitlines()
    for row in read_preferences([REAL / "oasst_trees.jsonl"]).rows.to_pylist():
        line = json.loads(trees[int(row["source"].rsplit(":", 1)[1].split("#")[0]) - 1])
        texts: set[str] = set()
        waiting = [line["prompt"]]
        while waiting:
            found = waiting.pop()
            texts.add(found["text"].strip())
            waiting += found["replies"]
        assert {row["response_a"], row["response_b"], *(m["content"] for m in row["messages"])} <= texts
