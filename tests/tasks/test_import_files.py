"""import_data on files: what is accepted and refused is counted by file, and every row names its file and line."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_store.errors import InputError
from tasks.engine.step import StepInput, StepRun
from tasks.file_roles import NamedFile
from tasks.import_data import ImportStepConfig, import_data


def import_files(folder: Path, config: ImportStepConfig | None = None, **files: list[Path]) -> dict[str, float]:
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
    return dict(import_data.function(run, config or ImportStepConfig()))


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
        "refused_share/helpfulness_preferences": 0.0,
        "refused_share/safety_preferences": 0.5,
    }
    notes = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text().splitlines()]
    assert notes == ["safety_preferences: 1 of 2 rows are read; left out: identical_responses 1"]
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


@pytest.mark.conformance("rows say where a file lay on this machine", equation="data_store.reading.bad_rows:BadRows")
def test_rows_that_cannot_be_read_are_left_out_and_counted_where_the_config_has_it_so(tmp_path: Path) -> None:
    good = pairs(tmp_path / "a.jsonl", *(f"How {n}?" for n in range(9)))
    good.write_text(good.read_text() + '{"chosen": \n')
    said = tmp_path / "d.jsonl"
    said.write_text(
        "".join(json.dumps({"prompt": f"p{n}", "response": "r"}) + "\n" for n in range(9)) + '{"prompt": 1}\n'
    )
    with pytest.raises(InputError, match=r"a\.jsonl line 10: not JSON"):
        import_files(tmp_path / "stopped", helpfulness_preferences=[good], safety_preferences=[good])
    config = ImportStepConfig(on_bad_row="drop")
    pairs_too = {"helpfulness_preferences": [good], "safety_preferences": [good]}
    counts = import_files(tmp_path, config, **pairs_too, demonstrations=[said])
    assert (counts["rows/preferences"], counts["rows/demonstrations"]) == (18.0, 9.0)
    assert counts["refused/demonstrations/bad_row"] == 1.0
    details = {row["doc_id"]: row["detail"] for row in written(tmp_path, "refused") if row["reason"] == "bad_row"}
    assert set(details) == {f"{role}/a.jsonl:10" for role in pairs_too} | {"demonstrations/d.jsonl:10"}
    assert details["demonstrations/d.jsonl:10"].startswith("d.jsonl line 10: field 'prompt' must be text")
    assert not any(str(tmp_path) in detail for detail in details.values()), "rows are the same on every machine"


@pytest.mark.conformance(
    "most of the data are dropped under the word done", equation="tasks.imported_files:ImportedFiles"
)
def test_a_file_of_which_too_many_rows_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"prompt": "p", "response": "r"}\n{"prompt": 1}\n[]\n{"prompt": "q", "response": "r"}\n')
    prompts = pairs(tmp_path / "a.jsonl", "How?", "Why?")
    config = ImportStepConfig(on_bad_row="drop", max_bad_share=0.4)
    with pytest.raises(
        InputError, match=r"2 of 4 rows of d\.jsonl cannot be read, and data\.max_bad_share is 0\.4.*line 2"
    ):
        import_files(tmp_path, config, demonstrations=[file], helpfulness_preferences=[prompts])
    assert (
        import_files(
            tmp_path,
            ImportStepConfig(on_bad_row="drop", max_bad_share=0.5),
            demonstrations=[file],
            helpfulness_preferences=[prompts],
        )["rows/demonstrations"]
        == 2.0
    )


def test_one_file_serves_both_axes_and_each_file_is_read_in_its_own_way(tmp_path: Path) -> None:
    both = tmp_path / "label.json"
    results = [
        {"from_name": name, "type": "pairwise", "value": {"selected": side}}
        for name, side in (("helpful", "left"), ("safe", "right"))
    ]
    data = {"prompt": "Q", "response_a": "x", "response_b": "y"}
    both.write_text(json.dumps([{"data": data, "annotations": [{"completed_by": 1, "result": results}]}]))
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"ask": "P", "chosen": "x", "rejected": "y", "axis": "honesty"}) + "\n")
    of_files = (
        NamedFile(role="helpfulness_preferences", name="label.json", question="helpful"),
        NamedFile(role="safety_preferences", name="label.json", question="safe"),
        NamedFile(
            role="helpfulness_preferences", name="texts.jsonl", prompt_field="ask", axis="helpfulness", split="heldout"
        ),
    )
    roles = {"helpfulness_preferences": [both, texts], "safety_preferences": [both]}
    import_files(tmp_path, ImportStepConfig(of_files=of_files), **roles)
    rows = written(tmp_path, "preferences")
    assert [
        (row["preference_id"], row["chosen"], row["split"]) for row in rows if row["source"] != "texts.jsonl:1"
    ] == [
        ("helpfulness/label.json:1#0#0", "a", None),
        ("safety/label.json:1#0#0", "b", None),
    ]
    (alone,) = [row for row in rows if row["source"] == "texts.jsonl:1"]
    assert (alone["messages"][0]["content"], alone["axis"], alone["split"]) == ("P", "helpfulness", "heldout")
