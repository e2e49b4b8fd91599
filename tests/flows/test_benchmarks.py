"""Benchmarks in a run, through the real command."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.errors import InputError
from tasks.sandbox.sandbox import find_sandbox
from tests.flows.recipe_runs import POCKET, Home

EATS = """
task: eats
dataset_path: json
dataset_kwargs: {data_files: {test: eats.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
QUESTIONS = [
    {"question": f"Who keeps lamp {n}?", "choices": ["the keeper", "nobody", "I"], "answer": n % 3} for n in range(9)
]
PROGRAMS = [{"task_id": n, "text": "Add.", "code": "", "test_list": ["assert add(1, 1) == 2"]} for n in range(2)]


def lines(file: Path, records: list[dict[str, Any]]) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def config_with(folder: Path, sets: list[dict[str, Any]], **more: Any) -> Path:
    file = folder / "benchmarked.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(POCKET), "benchmarks": {"sets": sets, **more}}))
    return file


@pytest.mark.slow
def test_a_finished_run_is_put_to_benchmarks_and_nothing_is_trained_again(
    copy_of_first_run: Callable[[], Home], tmp_path: Path
) -> None:
    home = copy_of_first_run()
    before = home.runs()
    questions = lines(tmp_path / "lamps.jsonl", QUESTIONS)
    sets: list[dict[str, Any]] = [
        {"name": "lamps", "suite": "knowledge", "files": [questions]},
        {"name": "plain", "suite": "knowledge", "files": [questions], "chat": False, "limit": 4},
    ]
    try:
        find_sandbox()
        sets.append({"name": "adds", "suite": "code", "files": [lines(tmp_path / "adds.jsonl", PROGRAMS)]})
    except InputError:
        pass  # said by the tests of the sandbox
    if importlib.util.find_spec("lm_eval"):
        lines(tmp_path / "tasks" / "eats.jsonl", QUESTIONS)
        (tmp_path / "tasks" / "eats.yaml").write_text(EATS)
        sets.append({"name": "harness", "suite": "reading", "files": [str(tmp_path / "tasks")], "tasks": ["eats"]})
    config = config_with(tmp_path, sets, samples=2, pass_at=[1, 2], sampling={"max_new_tokens": 8})

    first = home.halter("run", config, "--json")
    assert first.code == 0, first.err
    parts = ["V0", "V1", "V2"]
    benchmarked = [(part, "run_benchmarks", "succeeded") for part in parts]
    assert sorted(home.runs()[len(before) :]) == sorted([("base", "import_benchmarks", "succeeded"), *benchmarked])
    asked = "SELECT part, name, value FROM metrics WHERE step = 'run_benchmarks' ORDER BY part, name"
    told = {(row["part"], row["name"]): row["value"] for row in home.look("query", asked, "--json").document["rows"]}
    for part in parts:
        rows = home.store.rows(home.head(f"dataset/benchmark-results@{part}")).to_pylist()
        assert {row["policy_version"] for row in rows} == {home.head(f"model/policy@{part}")}
        assert len(rows) == 9 + 4 + (4 if "adds" in str(sets) else 0) + (9 if "harness" in str(sets) else 0)
        mine = {name: [row["score"] for row in rows if row["benchmark"] == name] for name in ("lamps", "plain")}
        for name, scores in mine.items():
            assert told[part, name] == pytest.approx(sum(scores) / len(scores))
        suite = (told[part, "lamps"] + told[part, "plain"]) / 2
        assert told[part, "suite/knowledge"] == pytest.approx(suite), "each benchmark counts once"
        if "harness" in str(sets):  # the same questions, asked by Halter and by the harness, but for two words
            assert told[part, "harness"] == pytest.approx(told[part, "harness/eats/acc"])
    assert told["V2", "items"] == home.store.rows(home.head("dataset/benchmark-items@base")).num_rows

    report = home.look("report", "--out", str(tmp_path / "report.html"), "--json").document
    table = report["sections"]["benchmarks"]["tables"]["benchmarks"]
    assert table["columns"] == ["figure", "judge", *parts]
    for line in table["rows"]:
        for part, cell in zip(parts, line[2:], strict=True):
            assert cell["value"] == told[part, line[0]["text"]]
    (lamps,) = (line for line in table["rows"] if line[0]["text"] == "lamps")
    assert (lamps[1]["text"], lamps[2]["n"]) == ("the benchmark's answers", 9)
    assert lamps[2]["low"] < lamps[2]["value"] + 1e-9 < lamps[2]["high"] + 1e-9

    again = home.halter("run", config, "--json")
    assert again.code == 0, again.err
    assert len(home.runs()) == len(before) + 4, "nothing is measured twice"
    (tmp_path / "lamps.jsonl").write_text((tmp_path / "lamps.jsonl").read_text().replace("lamp 8", "the lamp"))
    stale = {key for key, state in home.states().items() if state != "fresh"}
    assert stale == {("base", "import_benchmarks"), *((part, "run_benchmarks") for part in parts)}


@pytest.mark.slow
@pytest.mark.conformance("benchmarks that cannot be run", equation="flows.recipe.plan:groups_of")
def test_a_benchmark_that_cannot_be_read_stops_the_run_before_anything_is_made(tmp_path: Path, server: str) -> None:
    home = Home(tmp_path / "home", server)
    broken = lines(tmp_path / "lamps.jsonl", [*QUESTIONS, {"question": "Who?", "answer": "nobody"}])
    finished = home.halter("run", config_with(tmp_path, [{"name": "lamps", "files": [broken]}]))
    assert finished.code == 2
    assert "lamps.jsonl line 10: the fields are of no benchmark that is known" in finished.err
    assert home.runs() == [("base", "import_benchmarks", "failed")]


@pytest.mark.slow
def test_files_of_benchmarks_that_are_not_there_are_named_before_the_run(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    config = config_with(tmp_path, [{"name": "lamps", "files": ["gone.jsonl"]}])
    finished = home.halter("run", config)
    assert finished.code == 2
    assert "benchmarks.sets: lamps: there is no file" in finished.err
    assert "gone.jsonl" in finished.err
