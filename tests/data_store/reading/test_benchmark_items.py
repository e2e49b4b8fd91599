"""Benchmarks as they are handed round, and what is wrong with them said by file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from data_store.reading.benchmark_items import known_formats, read_benchmark

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "eval"

ARC = {
    "id": "q7",
    "question": "What melts?",
    "choices": {"text": ["ice", "iron"], "label": ["1", "2"]},
    "answerKey": "1",
}
HELLASWAG = {
    "ctx_a": "A man sits.",
    "ctx_b": "he",
    "activity_label": "Rowing [title]",
    "label": "1",
    "endings": ["[header] sleeps", "rows  away"],
}
KMMLU = {"question": "수도는? ", "A": "서울", "B": "부산", "C": "대구", "D": "광주", "answer": 1}
COPA = {
    "premise": "비가 왔다.",
    "question": "결과",
    "alternative_1": "땅이 젖었다.",
    "alternative_2": "해가 떴다.",
    "label": 0,
}
CHOICES: dict[str, tuple[dict[str, Any], str, list[str], int]] = {
    "own": (
        {"question": "Which is red?", "choices": ["sky", "blood"], "answer": 1},
        *("Question: Which is red?\nAnswer:", ["sky", "blood"], 1),
    ),
    "own by its text": (
        {"question": "Which is red?", "choices": ["sky", "blood"], "answer": "blood"},
        *("Question: Which is red?\nAnswer:", ["sky", "blood"], 1),
    ),
    "mmlu": (
        {"question": "2 + 2?", "subject": "algebra", "choices": ["3", "4", "5", "6"], "answer": 1},
        *("2 + 2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:", ["A", "B", "C", "D"], 1),
    ),
    "arc": (ARC, "Question: What melts?\nAnswer:", ["ice", "iron"], 0),
    "hellaswag": (HELLASWAG, "Rowing. : A man sits. He", [" sleeps", "rows away"], 1),
    "piqa": (
        {"goal": "open a tin", "sol1": "opener", "sol2": "spoon", "label": 0},
        *("Question: open a tin\nAnswer:", ["opener", "spoon"], 0),
    ),
    "boolq": (
        {"passage": "It rains.", "question": "is it dry", "answer": False},
        *("It rains.\nQuestion: is it dry?\nAnswer:", ["no", "yes"], 0),
    ),
    "truthful": (
        {"question": "Who?", "mc1_targets": {"choices": ["he", "she"], "labels": [0, 1]}},
        *("Q: Who?\nA:", ["he", "she"], 1),
    ),
    "kmmlu": (KMMLU, "수도는?\nA. 서울\nB. 부산\nC. 대구\nD. 광주\n정답：", ["A", "B", "C", "D"], 0),
    "kobest copa": (COPA, "비가 왔다.  그래서", ["땅이 젖었다.", "해가 떴다."], 0),
    "kobest boolq": (
        {"paragraph": "비가 온다.", "question": "맑은가?", "label": 0},
        *("비가 온다. 질문: 맑은가? 답변: ", ["아니오", "예"], 0),
    ),
    "kobest sentineg": ({"sentence": "좋다", "label": 1}, "문장: 좋다 긍부정:", ["부정", "긍정"], 1),
    "kobest hellaswag": (
        {"context": "그는", "ending_1": "a", "ending_2": "b", "ending_3": "c", "ending_4": "d", "label": 3},
        *("문장: 그는", ["a", "b", "c", "d"], 3),
    ),
    "kobest wic": (
        {"word": "배", "context_1": "배를 먹다", "context_2": "배를 타다", "label": 0},
        *("문장1: 배를 먹다 문장2: 배를 타다 두 문장에서 배가 같은 뜻으로 쓰였나?", ["아니오", "예"], 0),
    ),
    "options as lines": (
        {"question": "Where?", "options": "\nA. bank\nB. sea", "answer": "B. sea"},
        *("Question: Where?\nAnswer:", ["bank", "sea"], 1),
    ),
}

_HUMAN = {"task_id": "HumanEval/0", "prompt": "def two():\n", "test": "def check(f): ...", "entry_point": "two"}
_MBPP = {
    "task_id": 11,
    "text": "Write two.",
    "code": "",
    "test_list": ["assert two() == 2"],
    "test_setup_code": "x = 1",
}
# format → one of its records
BENCHMARKS: dict[str, dict[str, Any]] = {
    "HumanEval": _HUMAN,
    "MBPP": _MBPP,
    "MBPP, sanitized": {"task_id": 2, "prompt": "Write two.", "code": "", "test_list": ["assert two() == 2"]},
    "ARC": ARC,
    "KMMLU": KMMLU,
    "TruthfulQA": CHOICES["truthful"][0],
    "BoolQ": CHOICES["boolq"][0],
    "HellaSwag": HELLASWAG,
    "PIQA": CHOICES["piqa"][0],
    "KoBEST BoolQ": CHOICES["kobest boolq"][0],
    "KoBEST COPA": COPA,
    "KoBEST HellaSwag": CHOICES["kobest hellaswag"][0],
    "KoBEST WiC": CHOICES["kobest wic"][0],
    "KoBEST SentiNeg": CHOICES["kobest sentineg"][0],
    "options as lines": CHOICES["options as lines"][0],
    "MMLU and Halter's own": CHOICES["mmlu"][0],
}


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


@pytest.mark.parametrize(("record", "prompt", "choices", "answer"), CHOICES.values(), ids=CHOICES)
def test_a_question_is_asked_as_the_harness_asks_it(
    tmp_path: Path, record: dict[str, Any], prompt: str, choices: list[str], answer: int
) -> None:
    (row,) = read_benchmark([written(tmp_path, record)], "set", "suite").rows.to_pylist()
    assert (row["prompt"], row["choices"], row["answer"], row["form"]) == (prompt, choices, answer, "choice")
    assert (row["benchmark"], row["suite"], row["source"]) == ("set", "suite", "items.jsonl:1")
    assert row["item_id"] == record.get("id", "items.jsonl:1")


def test_a_task_of_code_comes_with_its_tests(tmp_path: Path) -> None:
    rows = read_benchmark([written(tmp_path, _HUMAN, _MBPP)], "code", "code").rows.to_pylist()
    assert [(row["item_id"], row["form"], row["entry_point"]) for row in rows] == [
        ("HumanEval/0", "humaneval", "two"),
        ("11", "mbpp", None),
    ]
    assert rows[0]["prompt"] == "def two():\n"
    assert rows[1]["prompt"] == "Write two. Your code should pass these tests:\n\nassert two() == 2"
    assert rows[1]["tests"] == "x = 1\nassert two() == 2"


BROKEN = [
    ({"a": 1}, "line 1: the fields are of no benchmark that is known .*HumanEval: entry_point, prompt, test"),
    ({"question": "q", "choices": ["a", "b"], "answer": 2}, "line 1: the answer is choice 2, of 2 from 0 on"),
    (
        {"question": "q", "choices": ["a", "b"], "answer": "c"},
        "'answer' is 'c'; a whole number or one of a, b is wanted",
    ),
    ({"question": "q", "choices": ["a"], "answer": 0}, "two choices or more are wanted"),
    (
        {"question": "q", "choices": list("abcdefghijk"), "answer": 0, "subject": "s"},
        "'choices' has 11; 10 have a letter",
    ),
    ({"text": "t", "test_list": ["assert f()"], "test_imports": "import re"}, "'test_imports' must be a list of texts"),
    ({"question": "q", "choices": "ab", "answer": 0}, "field 'choices' must be a list of texts"),
    ({**ARC, "answerKey": "9"}, "'answerKey' is '9'; the labels are"),
    ({**COPA, "question": "왜"}, "'question' is '왜'; use one of 원인, 결과"),
    ({**KMMLU, "answer": 0}, "the answer is choice -1"),
    ({"question": "q", "mc1_targets": {"choices": ["a"], "labels": [0]}}, "one label 1"),
    ({"task_id": 1, "text": "t", "test_list": []}, "'test_list' is empty"),
    ({"prompt": "p", "test": "t", "entry_point": "import os"}, "the name of a function is wanted"),
    ({"question": "q", "options": "bank", "answer": "bank"}, "lines such as 'A. bank'"),
    ({"question": "q", "options": "A. b\nB. c", "answer": "C. d"}, "none of the options"),
]


def test_a_number_is_the_place_of_the_answer_even_where_choices_are_numbers(tmp_path: Path) -> None:
    """As of MMLU's abstract algebra: answer 1 of 0, 4, 2, 1 is 4; the text "1" is the last one."""
    own = {"question": "q", "choices": ["0", "4", "2", "1"], "answer": 1}
    read = read_benchmark([written(tmp_path, own, {**own, "subject": "s"}, {**own, "answer": "1"})], "set", "suite")
    assert read.rows.column("answer").to_pylist() == [1, 1, 3]


@pytest.mark.parametrize(("record", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_what_is_wrong_is_said_with_file_line_and_field(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"items\.jsonl line 1.*{message.removeprefix('line 1: ')}"):
        read_benchmark([written(tmp_path, record)], "set", "suite")


def test_an_id_that_comes_twice_is_refused_and_what_is_of_no_use_is_counted(tmp_path: Path) -> None:
    own = {"question": "q", "choices": ["a", "b"], "answer": 0}
    with pytest.raises(InputError, match=r"line 2: the id 'x' is that of items.jsonl:1 already"):
        read_benchmark([written(tmp_path, {**own, "id": "x"}, {**own, "id": "x"})], "set", "suite")
    dirty = ({**own, "choices": ["a", " "]}, {**own, "choices": ["a", "b", "a"]})
    wrong_twice = {**own, "choices": ["a", "b", "b"]}
    read = read_benchmark([written(tmp_path, own, *dirty, wrong_twice)], "set", "suite")
    assert (len(read.rows), read.refused_counts()) == (2, {"empty_prompt": 1, "answer_twice": 1})


def test_the_page_names_every_format() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "benchmarks.md").read_text()
    assert [name for name in known_formats() if name not in page] == []


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows"), [("commonsenseqa.jsonl", 1221), ("openbookqa.jsonl", 500), ("mbpp.jsonl", 974)]
)
def test_real_benchmarks_are_read_whole(name: str, rows: int) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"there is no {DATA / name}")
    read = read_benchmark([DATA / name], "set", "suite")
    assert len(read.rows) + len(read.refused) == rows
    assert len(read.refused) <= 10
