"""What changes the meaning of a dialogue is used, or refuses the row by name; what is harmless stops nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.readers import read_dialogues, read_preferences, read_prompts

ASKED = {"role": "user", "content": "Q"}
SAID = {"role": "assistant", "content": "A"}
PAIR = {"prompt": "Q", "chosen": "good", "rejected": "bad"}
SYSTEM = {"role": "system", "content": "Be brief."}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dialogue(folder: Path, row: dict[str, Any]) -> list[tuple[str, str]] | str:
    """The turns, or why the row was refused."""
    read = read_dialogues([jsonl(folder / "a.jsonl", row, {"prompt": "other", "response": "other"})])
    if len(read.refused):
        return str(read.refused.to_pylist()[0]["reason"])
    return [(turn["role"], turn["content"]) for turn in read.rows.to_pylist()[0]["messages"]]


@pytest.mark.conformance("what stands beside a dialogue is lost", equation="data_store.reading.messages:with_context")
@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (
            {"system_prompt": "S", "question": "Q", "response": "A"},
            [("system", "S"), ("user", "Q"), ("assistant", "A")],
        ),
        (
            {"instruction": "Q", "output": "A", "system": "S", "history": [["q", "a"]]},
            [("system", "S"), ("user", "q"), ("assistant", "a"), ("user", "Q"), ("assistant", "A")],
        ),
        ({"instruction": "Q", "context": "C", "response": "A"}, [("user", "Q\n\nC"), ("assistant", "A")]),
        (
            {"messages": [{"role": "developer", "content": "S"}, ASKED, SAID]},
            [("system", "S"), ("user", "Q"), ("assistant", "A")],
        ),
        (
            {"messages": [ASKED, {**SAID, "reasoning_content": "so"}]},
            [("user", "Q"), ("assistant", "<think>\nso\n</think>\n\nA")],
        ),
        (
            {"prompt": "Q", "response": "A", "reasoning_content": "so"},
            [("user", "Q"), ("assistant", "<think>\nso\n</think>\n\nA")],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Q"}, {"type": "text", "text": "?"}]},
                    SAID,
                ]
            },
            [("user", "Q?"), ("assistant", "A")],
        ),
        ({"messages": [ASKED, {**SAID, "weight": 1}], "weight": 1}, [("user", "Q"), ("assistant", "A")]),
    ],
)
def test_what_stands_beside_a_dialogue_belongs_to_it(
    tmp_path: Path, row: dict[str, Any], turns: list[tuple[str, str]]
) -> None:
    assert dialogue(tmp_path, row) == turns


@pytest.mark.conformance("what stands beside a dialogue is lost", equation="data_store.reading.messages:with_context")
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Q", "response": "A", "weight": 0}, "weight_0"),
        ({"messages": [ASKED, {**SAID, "weight": 0}, ASKED, SAID]}, "weight_0"),
        ({"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}, SAID]}, "tool_turns"),
        ({"messages": [ASKED, SAID, {"role": "tool", "content": "42"}, SAID]}, "tool_turns"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "function_call", "value": "f"}]}, "tool_turns"),
        ({"messages": [ASKED, SAID], "tools": [{"name": "f"}]}, "tool_turns"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, SAID]}, "not_text"),
        ({"messages": [SYSTEM, ASKED, SAID], "system": "Be long."}, "system_differs"),
        ({"messages": [ASKED, SAID], "split": "test"}, "held_out"),
        ({"messages": [ASKED, {**SAID, "content": None}]}, "empty_message"),
        (
            {"conversations": [{"from": "gpt", "value": "A"}, {"from": "human", "value": "Q"}]},
            "last_turn_not_assistant",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_by_name(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    assert dialogue(tmp_path, row) == reason


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "Q", "response": "A", "weight": 0.5}, "field 'weight' is 0.5; rows weigh 1, or 0 to be left out"),
        ({"prompt": "Q", "response": "A", "history": "earlier"}, r"'history' must be a list of \[question, answer\]"),
        ({"conversations": [{"from": "narrator", "value": "Q"}]}, "'narrator'; use one of human, user, system, gpt"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "must be text, not an object"),
    ],
)
def test_what_would_be_read_as_something_else_is_named(tmp_path: Path, row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_dialogues([jsonl(tmp_path / "a.jsonl", row)])


def test_a_system_message_and_a_history_belong_to_a_pairs_prompt(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", {**PAIR, "system": "S", "history": [["q", "a"]]})
    (row,) = read_preferences([file]).rows.to_pylist()
    turns = [(turn["role"], turn["content"]) for turn in row["messages"]]
    assert turns == [("system", "S"), ("user", "q"), ("assistant", "a"), ("user", "Q")]


@pytest.mark.parametrize(
    "extra",
    [
        {"id": 3, "source": "x", "margin": 1.2, "model": None},
        {"annotator": 17},
        {"iteration": 3},
        {"iteration": "round-3"},
        {"rating": 5},
        {"rating": [5.0, 2.0]},
        {"safety_label": True},
        {"split": "part 1"},
        {"score_chosen": None, "score_rejected": None},
    ],
)
def test_columns_that_say_nothing_here_stop_nothing(tmp_path: Path, extra: dict[str, Any]) -> None:
    (row,) = read_preferences([jsonl(tmp_path / "a.jsonl", PAIR | extra)]).rows.to_pylist()
    assert (row["rating"], row["safety_label"], row["split"], row["iteration"]) == ("better", None, None, "V0")
    assert row["annotator"] == str(extra.get("annotator", "import:datasets"))


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"weight": 0}, "weight_0"),
        ({"axis": "honesty"}, "other_axis"),
        ({"axis": "safety"}, "other_axis"),
        ({"score_chosen": 1, "score_rejected": 3}, "scores_contradict"),
        (
            {"prompt": "another", "chosen": [ASKED, SAID], "rejected": [ASKED, {**SAID, "content": "B"}]},
            "prompts_differ",
        ),
        ({"tools": [{"name": "f"}]}, "tool_turns"),
    ],
)
def test_a_pair_that_would_be_another_one_is_refused_by_name(
    tmp_path: Path, extra: dict[str, Any], reason: str
) -> None:
    read = read_preferences([jsonl(tmp_path / "a.jsonl", PAIR, PAIR | {"prompt": "P"} | extra)])
    assert [(each["source"], each["reason"]) for each in read.refused.to_pylist()] == [("a.jsonl:2", reason)]


def test_thoughts_that_belong_to_neither_answer_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: field 'reasoning_content' belongs to neither answer"):
        read_preferences([jsonl(tmp_path / "a.jsonl", PAIR | {"reasoning_content": "so"})])


@pytest.mark.parametrize(
    ("scores", "rating"),
    [
        ({"score_chosen": 0.95, "score_rejected": 0.05}, "significantly_better"),  # of 0 to 1
        ({"chosen_score": 0.9, "rejected_score": 0.75}, "slightly_better"),
        ({"score_chosen": 8.5, "score_rejected": 6}, "better"),  # of 1 to 10
        ({"chosen_rating": 5.0, "rejected_rating": 1.0}, "significantly_better"),  # of 1 to 5
        ({"chosen-rating": "4", "rejected-rating": "2.5"}, "slightly_better"),
        ({"rating_chosen": 5, "rating_rejected": 3}, "better"),
    ],
)
def test_a_difference_is_read_by_the_scale_of_its_scores(tmp_path: Path, scores: dict[str, Any], rating: str) -> None:
    (row,) = read_preferences([jsonl(tmp_path / "a.jsonl", PAIR | scores)]).rows.to_pylist()
    assert row["rating"] == rating


def test_the_format_of_a_file_is_that_of_most_of_its_records(tmp_path: Path) -> None:
    odd = {"prompt": "Q", "response_a": "x", "response_b": "y", "chosen": "a"}
    file = jsonl(tmp_path / "a.jsonl", odd, *({**PAIR, "prompt": f"Q{n}"} for n in range(3)))
    with pytest.raises(InputError, match=r"line 1: there is no field 'rejected'"):
        read_preferences([file])


def test_prompts_out_of_what_other_sets_call_them(tmp_path: Path) -> None:
    rows = [
        {"goal": "g", "target": "Sure"},
        {"prompt": [ASKED]},
        {"prompt": {"text": "t", "toxicity": 0.1}, "continuation": {"text": "x"}},
        {"conversation": [{"role": "user", "content": "c"}, SAID, ASKED, SAID]},
        {"instruction": "i", "input": "more", "output": "o"},
        {"question": "q?", "answer": "a", "system_prompt": "S"},
    ]
    begins_with_an_answer = {"conversations": [{"from": "gpt", "value": "A"}, {"from": "human", "value": "Q"}]}
    read = read_prompts([jsonl(tmp_path / "a.jsonl", *rows, begins_with_an_answer)])
    assert read.refused_counts() == {"last_turn_not_user": 1}
    found = read.rows.to_pylist()
    assert [[turn["content"] for turn in row["messages"]] for row in found] == [
        ["g"],
        ["Q"],
        ["t"],
        ["c"],
        ["i\n\nmore"],
        ["S", "q?"],
    ]
