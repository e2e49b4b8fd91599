"""Preference pairs out of the user's files."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows
from data_store.reading.readers import read_preferences, read_prompts
from data_store.rows import row_kind

REAL = Path(__file__).parents[4] / "shared" / "data" / "preference"
PAIR = {"prompt": "p", "response_a": "x", "response_b": "y", "chosen": "b"}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def hh(*turns: str) -> str:
    return "".join(f"\n\n{speaker}: {text}" for speaker, text in zip(("Human", "Assistant") * 9, turns, strict=False))


def test_hh_pair_becomes_common_turns_and_two_responses(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "hh.jsonl", {"chosen": hh("a", "b", "c", "good"), "rejected": hh("a", "b", "c", "bad")})
    rows, refused = read_preferences([file], axis="safety", iteration="V2", default_rating="slightly_better")
    assert refused.num_rows == 0
    assert rows.schema == row_kind("preference").schema
    (row,) = rows.to_pylist()
    assert row["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert row[f"response_{row['chosen']}"] == "good"
    assert {row["response_a"], row["response_b"]} == {"good", "bad"}
    words = ("axis", "iteration", "split", "rating", "annotator", "source", "safety_label", "policy_version_a")
    expected = ["safety", "V2", None, "slightly_better", "import:hh", "hh.jsonl:1", None, None]
    assert [row[word] for word in words] == expected


def test_the_place_of_the_chosen_response_tells_nothing_and_is_always_the_same(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "hh.jsonl", *({"chosen": hh("q", f"g{i}"), "rejected": hh("q", "bad")} for i in range(400)))
    rows = read_preferences([file]).rows
    assert 150 < rows.column("chosen").to_pylist().count("a") < 250
    assert read_preferences([file]).rows == rows
    assert all(row[f"response_{row['chosen']}"].startswith("g") for row in rows.to_pylist())


def test_known_dirt_of_hh_is_refused_by_name(tmp_path: Path) -> None:
    good = hh("a", "b")
    file = jsonl(
        tmp_path / "hh.jsonl",
        {"chosen": good, "rejected": hh("a", "c")},
        {"chosen": hh("a", "b", "c", "d"), "rejected": hh("a", "b", "other", "e")},
        {"chosen": good, "rejected": hh("a", "")},
        {"chosen": good, "rejected": good},
        {"chosen": good, "rejected": hh("a", "b", "c")},
        {"chosen": good, "rejected": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c"},
        {"chosen": good, "rejected": hh("", "b")},
    )
    read = read_preferences([file])
    assert read.rows.column("source").to_pylist() == ["hh.jsonl:1"]
    assert list(
        zip(read.refused.column("source").to_pylist(), read.refused.column("reason").to_pylist(), strict=True)
    ) == [
        ("hh.jsonl:2", "prompts_differ"),
        ("hh.jsonl:3", "empty_answer"),
        ("hh.jsonl:4", "identical_responses"),
        ("hh.jsonl:5", "last_turn_not_assistant"),
        ("hh.jsonl:6", "turns_do_not_alternate"),
        ("hh.jsonl:7", "empty_message"),
    ]


def test_rows_in_our_own_words_keep_what_they_say(tmp_path: Path) -> None:
    full = PAIR | {
        "rating": "significantly_better",
        "safety_label": "both_safe",
        "axis": "safety",
        "split": "heldout",
        "iteration": "V3",
        "annotator": "kim",
        "policy_version_a": "abc",
        "temperature_milli_a": 1300,
    }
    rows = read_preferences([jsonl(tmp_path / "a.jsonl", full)], format="rows", axis="safety").rows.to_pylist()
    assert {name: rows[0][name] for name in full if name != "prompt"} == {
        k: v for k, v in full.items() if k != "prompt"
    }
    assert rows[0]["temperature_milli_b"] is None
    prompts = tmp_path / "p.jsonl"
    assert rows[0]["prompt_id"] == read_prompts([jsonl(prompts, {"prompt": "p"})]).rows.column("prompt_id")[0].as_py()


def test_a_file_of_texts_and_a_table_side_by_side(tmp_path: Path) -> None:
    texts = jsonl(tmp_path / "a.jsonl", {"prompt": "p", "chosen": "good", "rejected": "bad", "rating": None})
    table = tmp_path / "b.csv"
    table.write_text("prompt,response_a,response_b,chosen,rating,temperature_milli_a\np,bad,good,b,,700\n")
    rows = read_preferences([texts, table]).rows.to_pylist()
    assert [row["annotator"] for row in rows] == ["import:datasets", "import:rows"]
    assert [row[f"response_{row['chosen']}"] for row in rows] == ["good", "good"]
    assert [row["rating"] for row in rows] == ["better", "better"]
    assert [row["temperature_milli_a"] for row in rows] == [None, 700]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rating": "much_better"},
            r"a\.jsonl line 1: field 'rating' is 'much_better'; "
            "use one of significantly_better, better, slightly_better, negligibly_better",
        ),
        ({"safety_label": "safe"}, "field 'safety_label' is 'safe'; use one of chosen_safe_other_unsafe"),
        ({"chosen": "c"}, "field 'chosen' is 'c'; use one of a, b"),
        ({"axis": "honesty"}, "field 'axis' is 'honesty'; use one of helpfulness, safety"),
        ({"raiting": "better"}, r"unknown field 'raiting'; is it 'rating'\? Rename or remove it"),
        ({"temperature_milli_a": 1.3}, "field 'temperature_milli_a' is 1.3; give the temperature in thousandths"),
        ({"response_b": 7}, "field 'response_b' must be text, not a number"),
    ],
)
def test_unknown_words_and_fields_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_preferences([jsonl(tmp_path / "a.jsonl", PAIR | change)], format="rows")


def test_chosen_unsafe_other_safe_is_refused_by_name_and_so_are_empty_answers(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "a.jsonl",
        PAIR,
        PAIR | {"safety_label": "chosen_unsafe_other_safe"},
        PAIR | {"response_a": " "},
        PAIR | {"response_a": "y"},
        PAIR | {"prompt": ""},
    )
    read = read_preferences([file], format="rows")
    assert read.rows.num_rows == 1
    reasons = ["chosen_unsafe_other_safe", "empty_answer", "identical_responses", "empty_message"]
    assert read.refused.column("reason").to_pylist() == reasons


def test_half_a_character_in_the_name_of_a_judge_is_named_or_counted_like_one_in_an_answer(tmp_path: Path) -> None:
    """The surrogate stands in what the format makes of a field that it has not looked at."""
    turns = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}] for answer in "xy"]
    arena = {"winner": "model_a", "conversation_a": turns[0], "conversation_b": turns[1], "judge": "\ud800"}
    file = jsonl(tmp_path / "a.jsonl", {**arena, "judge": "j"}, arena)
    with pytest.raises(InputError, match=r"a.jsonl line 2: field 'annotator' holds half a character"):
        read_preferences([file])
    rows, refused = read_preferences([file], bad=BadRows(drop=True))
    assert rows.column("annotator").to_pylist() == ["chatbot_arena:j"]
    assert [(row["source"], row["reason"]) for row in refused.to_pylist()] == [("a.jsonl:2", "bad_row")]


def test_wrong_arguments_and_foreign_text_are_refused(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", {"chosen": "Hello", "rejected": "Hi"})
    with pytest.raises(InputError, match="field 'chosen' must start with an empty line and 'Human:'"):
        read_preferences([file])
    with pytest.raises(InputError, match="format is 'trl'; use one of auto, oasst, oasst_flat, argilla"):
        read_preferences([file], format="trl")
    with pytest.raises(InputError, match="default_rating is 'good'"):
        read_preferences([file], default_rating="good")


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real sets are not at {REAL}")
def test_the_real_hh_sets_lose_only_what_is_dirty() -> None:
    read = read_preferences([REAL / "hh_harmless.jsonl.gz", REAL / "hh_helpful.jsonl.gz"])
    assert read.rows.num_rows == 2727
    assert read.refused_counts() == {"turns_do_not_alternate": 12, "empty_answer": 3}
