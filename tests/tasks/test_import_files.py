"""import_data on files: what is accepted and refused is counted by file, and every row names its file and line."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_store.errors import InputError
from tasks.engine.step import StepInput, StepRun
from tasks.import_data import ImportConfig, import_data


def import_files(folder: Path, config: ImportConfig | None = None, **files: list[Path]) -> dict[str, float]:
    """Run the step on files by role; what it writes lies below `folder`."""
    outputs = {
        role: import_data.outputs[role]
        for role in ("prompts", "refused", "preferences", "demonstrations")
        if role in ("prompts", "refused") or any(role in name for name in files)
    }
    run = StepRun(
        name="import_data",
        part="base",
        seed=0,
        inputs={
            role: tuple(StepInput("source/x@external", "v", path) for path in paths) for role, paths in files.items()
        },
        outputs=outputs,
        folder=folder,
    )
    return dict(import_data.function(run, config or ImportConfig()))


def written(folder: Path, role: str) -> list[dict[str, Any]]:
    """The rows that the step wrote."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "out" / role / "rows.parquet").to_pylist()
    return rows


def pairs(path: Path, *questions: str, rejected: str = "Bad.") -> Path:
    """A file in Anthropic's format, one pair per question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "chosen": f"\n\nHuman: {question}\n\nAssistant: Good.",
            "rejected": f"\n\nHuman: {question}\n\nAssistant: {rejected}",
        }
        for question in questions
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    helpful = pairs(tmp_path / "helpful-base" / "train.jsonl", "How?", "Why?")
    harmless = pairs(tmp_path / "harmless-base" / "train.jsonl", "Who?")
    import_files(tmp_path, helpfulness_preferences=[helpful], safety_preferences=[harmless])
    rows = written(tmp_path, "preferences")
    assert [(row["source"], row["preference_id"], row["axis"]) for row in rows] == [
        ("helpful-base/train.jsonl:1", "helpfulness/helpful-base/train.jsonl:1", "helpfulness"),
        ("helpful-base/train.jsonl:2", "helpfulness/helpful-base/train.jsonl:2", "helpfulness"),
        ("harmless-base/train.jsonl:1", "safety/harmless-base/train.jsonl:1", "safety"),
    ]


def test_refused_rows_are_counted_by_role_and_reason_and_listed_with_their_line(tmp_path: Path) -> None:
    helpful = pairs(tmp_path / "a" / "x.jsonl", "How?", "Why?")
    same = pairs(tmp_path / "b" / "x.jsonl", "Who?", rejected="Good.")
    same.write_text(same.read_text() + pairs(tmp_path / "c.jsonl", "Where?").read_text())
    counts = import_files(tmp_path, helpfulness_preferences=[helpful], safety_preferences=[same])
    assert counts == {
        "rows/preferences": 3.0,
        "rows/prompts": 3.0,
        "refused/safety_preferences/identical_responses": 1.0,
    }
    (refused,) = written(tmp_path, "refused")
    assert (refused["source"], refused["reason"]) == ("b/x.jsonl:1", "identical_responses")
    table = json.loads((tmp_path / "tables" / "files.json").read_text())
    assert [(row["file"], row["outcome"], row["rows"]) for row in table] == [
        ("a/x.jsonl", "accepted", 2),
        ("b/x.jsonl", "refused: identical_responses", 1),
        ("b/x.jsonl", "accepted", 1),
    ]


def test_a_prompt_of_both_axes_is_a_safety_prompt(tmp_path: Path) -> None:
    helpful = pairs(tmp_path / "helpful.jsonl", "How?", "Both?")
    harmless = pairs(tmp_path / "harmless.jsonl", "Both?")
    import_files(tmp_path, helpfulness_preferences=[helpful], safety_preferences=[harmless])
    axes = {row["messages"][0]["content"]: row["axis"] for row in written(tmp_path, "prompts")}
    assert axes == {"How?": "helpfulness", "Both?": "safety"}


def test_prompts_given_for_both_axes_are_written_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("How?\nBoth?\n")
    (tmp_path / "b.txt").write_text("Both?\n")
    import_files(tmp_path, helpfulness_prompts=[tmp_path / "a.txt"], safety_prompts=[tmp_path / "b.txt"])
    axes = {row["messages"][0]["content"]: row["axis"] for row in written(tmp_path, "prompts")}
    assert axes == {"How?": "helpfulness", "Both?": "safety"}


def test_without_prompts_and_preferences_the_import_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "How?", "response": "So."}\n')
    with pytest.raises(InputError, match=r"give data\.helpfulness_prompts and data\.safety_prompts, or preferences"):
        import_files(tmp_path, demonstrations=[tmp_path / "a.jsonl"])
