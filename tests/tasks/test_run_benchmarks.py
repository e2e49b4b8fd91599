"""Benchmarks from files to rows and figures, with a policy that says noise."""

import builtins
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from data_store.errors import InputError
from models.config import SamplingConfig
from tasks.benchmarks import harness
from tasks.benchmarks.config import BenchmarkChoice, ReadingConfig, RunBenchmarksConfig
from tasks.import_benchmarks import import_benchmarks
from tasks.run_benchmarks import run_benchmarks
from tasks.sandbox import sandbox
from tests.tasks.bench import step_run, written
from tests.tasks.little_policy import WORDS, little_policy

SAMPLING = SamplingConfig(max_new_tokens=6, batch_size=4)
OUTPUTS = {**import_benchmarks.outputs, **run_benchmarks.outputs}


def questions(folder: Path, name: str = "own.jsonl") -> Path:
    words = WORDS.split()
    records = [
        {"id": f"q{n}", "question": f"the llama {words[n]}", "choices": [words[n + 1], words[n + 2]], "answer": n % 2}
        for n in range(6)
    ]
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / name


def imported(folder: Path, file: Path, **choice: Any) -> list[dict[str, Any]]:
    run = step_run(folder / "import", inputs={"files": file}, outputs=OUTPUTS)
    config = ReadingConfig(sets=(BenchmarkChoice(**choice),), files=(1,))
    import_benchmarks.function(run, config)
    return written(folder / "import", "items")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_policy(tmp_path_factory.mktemp("policy"))


def ran(folder: Path, policy: Path, items: list[dict[str, Any]], choice: dict[str, Any], **config: Any) -> Any:
    contamination = [
        {
            "evaluation_set": f"benchmark/{item['benchmark']}",
            "item_id": item["item_id"],
            "tokens": 20,
            "contaminated": 18,
            "share": 0.9 if n else 0.0,
            "longest": 18,
            "longest_share": 0.9,
            "longest_text": "",
            "documents": [],
        }
        for n, item in enumerate(items)
    ]
    given = {"policy": policy, "items": ("benchmark_item", items), "contamination": ("item_overlap", contamination)}
    run = step_run(folder / "run", inputs=given, outputs=OUTPUTS)
    config = RunBenchmarksConfig(sets=(BenchmarkChoice(**choice),), sampling=SAMPLING, **config)
    return run_benchmarks.function(run, config), written(folder / "run", "results")


@pytest.mark.parametrize("chat", [True, False])
def test_each_item_is_a_row_with_the_log_probability_of_each_choice(tmp_path: Path, policy: Path, chat: bool) -> None:
    choice = {"name": "own", "suite": "knowledge", "chat": chat}
    items = imported(tmp_path, questions(tmp_path), **choice)
    metrics, rows = ran(tmp_path, policy, items, choice)
    assert [row["item_id"] for row in rows] == [f"q{n}" for n in range(6)]
    for row, item in zip(rows, items, strict=True):
        best = max(range(2), key=row["logprobs"].__getitem__)
        assert row["score"] == float(best == item["answer"])
        assert row["response"] == item["choices"][best]
        by_letter = [value / len(option) for value, option in zip(row["logprobs"], item["choices"], strict=True)]
        assert row["normalised_score"] == float(max(range(2), key=by_letter.__getitem__) == item["answer"])
        assert row["policy_version"] == "version-of-policy"
        assert all(value < 0 for value in row["logprobs"])
    share = sum(row["score"] for row in rows) / 6
    assert metrics["own"].value == metrics["suite/knowledge"].value == pytest.approx(share)
    assert (metrics["own"].n, metrics["own/clean/score"].n, metrics["own/dirty/score"].n) == (6, 1, 5)
    tables = json.loads((tmp_path / "run" / "tables" / "benchmarks.json").read_text())
    assert tables[0]["n"] == 6
    assert "–" in tables[0]["95 %"]


@pytest.mark.slow
def test_programs_are_drawn_run_and_counted(tmp_path: Path, policy: Path) -> None:
    tasks = tmp_path / "mbpp.jsonl"
    record = {"task_id": 1, "text": "Write add.", "code": "", "test_list": ["assert add(1, 1) == 2"]}
    tasks.write_text(json.dumps(record) + "\n" + json.dumps({**record, "task_id": 2}) + "\n")
    choice = {"name": "mbpp", "suite": "code"}
    try:
        items = imported(tmp_path, tasks, **choice)
    except InputError as error:
        pytest.skip(str(error))
    metrics, rows = ran(tmp_path, policy, items, choice, samples=3, pass_at=(1, 3))
    assert [(row["item_id"], row["draw"]) for row in rows] == [(item, draw) for item in "12" for draw in range(3)]
    assert metrics["mbpp/pass@1"].value == metrics["mbpp/pass@3"].value == 0.0, "noise is no program"
    assert (metrics["mbpp/pass@1"].n, metrics["mbpp/pass@1"].judge) == (2, "the benchmark's tests")
    assert all(row["detail"] != "passed" and row["response"] is not None for row in rows)
    assert len({row["response"] for row in rows if row["item_id"] == "1"}) > 1, "drawn, not the same thrice"


@pytest.mark.parametrize("chat", [True, False])
def test_what_the_context_does_not_hold_is_counted_and_a_message_is_answered_by_nothing(
    tmp_path: Path, policy: Path, chat: bool
) -> None:
    """128 tokens. The other tasks are answered as ever, and each row says which is which."""
    rest = {"test": "def check(f): assert f()", "entry_point": "f"}
    tasks = [{"task_id": n, "prompt": "def f():\n" * (40 if n == 1 else 1), **rest} for n in range(3)]
    (tmp_path / "code.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    choice = {"name": "code", "suite": "code", "chat": chat}
    try:
        items = imported(tmp_path, tmp_path / "code.jsonl", **choice)
    except InputError as error:
        pytest.skip(str(error))
    metrics, rows = ran(tmp_path, policy, items, choice)
    assert [row["cut"] for row in rows] == [False, True, False]
    assert [bool(row["response"]) for row in rows] == [True, not chat, True]
    assert (metrics["cut"], metrics["items"]) == (1.0, 3.0)


def test_a_question_that_the_context_does_not_hold_loses_its_beginning(tmp_path: Path, policy: Path) -> None:
    long = {"id": "long", "question": WORDS * 40, "choices": ["llama", "grass"], "answer": 0}
    file = questions(tmp_path)
    file.write_text(f"{file.read_text()}{json.dumps(long)}\n")
    items = imported(tmp_path, file, name="own")
    metrics, rows = ran(tmp_path, policy, items, {"name": "own"})
    assert [row["item_id"] for row in rows if row["cut"]] == ["long"]
    assert metrics["cut"] == 1.0


def test_a_choice_that_is_longer_than_the_context_is_named(tmp_path: Path, policy: Path) -> None:
    record = {"question": "q", "choices": ["a", WORDS * 20], "answer": 0}
    (tmp_path / "own.jsonl").write_text(json.dumps(record))
    items = imported(tmp_path, tmp_path / "own.jsonl", name="own")
    with pytest.raises(
        InputError, match=r"a choice has \d+ tokens, and the policy's context holds 128: 'the llama eats"
    ):
        ran(tmp_path, policy, items, {"name": "own"})


def test_code_without_a_sandbox_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    sandbox.find_sandbox.cache_clear()
    tasks = tmp_path / "mbpp.jsonl"
    tasks.write_text(json.dumps({"task_id": 1, "text": "t", "code": "", "test_list": ["assert True"]}) + "\n")
    with pytest.raises(InputError, match=r"none works here \(it needs Linux\): install bubblewrap"):
        imported(tmp_path, tasks, name="mbpp")
    sandbox.find_sandbox.cache_clear()


def test_tasks_of_the_harness_without_it_are_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "lm_eval":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "tasks.benchmarks.harness_model", raising=False)
    importlib.import_module("tasks.benchmarks.harness_model")  # as the worker does, for it is code of the step
    with pytest.raises(InputError, match=r"pip install 'halter\[eval\]'"):
        harness.load_tasks(tmp_path, BenchmarkChoice(name="x", tasks=("t",)), tmp_path)


def test_only_the_first_items_are_taken_where_there_is_a_limit(tmp_path: Path) -> None:
    assert len(imported(tmp_path, questions(tmp_path), name="own", limit=2)) == 2
