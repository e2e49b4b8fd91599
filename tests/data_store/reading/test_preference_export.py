"""Preferences written for other tools read back as the same judgements."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.errors import InputError
from data_store.reading.preference_export import export_preferences
from data_store.reading.preference_formats.datasets import SCHEMA
from data_store.reading.preference_formats.registry import EXPORT_FORMATS
from data_store.reading.preference_readers import read_preferences
from data_store.rows import AXES

SAID = ("axis", "iteration", "split", "messages", "response_a", "response_b", "chosen", "rating", "safety_label")
ENDS = ("finished_a", "finished_b")
BY = ("annotator", "policy_version_a", "policy_version_b", "temperature_milli_a", "temperature_milli_b", *ENDS)
SYSTEM = {"role": "system", "content": "Be brief."}


def row(number: int, **values: Any) -> dict[str, Any]:
    turns = ["Who keeps the lamp?", "The keeper.", "등대는 어디에 있습니까?\n\nSay it twice."]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    return {
        "preference_id": f"pair-{number}",
        "source": f"judge_pairs@V{number % 2 + 1}",
        "prompt_id": "p",
        "axis": "safety" if number % 2 else "helpfulness",
        "iteration": f"V{number % 2 + 1}",
        "split": "heldout" if number % 3 else "train",
        "messages": messages,
        "response_a": f"north {number}",
        "response_b": f'south "{number}"',
        "chosen": "ab"[number // 2 % 2],
        "rating": ("significantly_better", "better", "slightly_better", "negligibly_better")[number % 4],
        "safety_label": "both_safe" if number % 2 else None,
        "annotator": ("anna", "lm:judge")[number % 2],
        "policy_version_a": "new" if number else None,
        "policy_version_b": "old" if number else None,
        "temperature_milli_a": 700 if number else None,
        "temperature_milli_b": 1000 if number else None,
        "finished_a": number % 4 != 1 if number else None,
        "finished_b": number % 4 != 3 if number else None,
        **values,
    }


ROWS = [row(number) for number in range(8)]


def judgements(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: each[name] for name in names} for each in rows]


@pytest.mark.parametrize("format", ["datasets", "argilla", "label-studio"])
def test_what_is_exported_reads_back_as_the_same_judgements(tmp_path: Path, format: str) -> None:
    target = tmp_path / f"out{EXPORT_FORMATS[format].suffix}"
    rows = [*ROWS, row(8, messages=[SYSTEM, *ROWS[0]["messages"]])]
    assert export_preferences(rows, format, target) == (9, {})
    back = []
    for axis in AXES:
        read = read_preferences([target], axis=axis)
        assert read.refused_counts() == {"other_axis": sum(each["axis"] != axis for each in rows)}
        back += read.rows.to_pylist()
    back.sort(key=lambda each: int(re.sub(r"\D", "", each["response_a"])))
    assert judgements(back, (*SAID, *BY)) == judgements(rows, (*SAID, *BY))
    assert all(each["source"].startswith(f"{target.name}:") for each in back)
    assert len({each["preference_id"] for each in back}) == 9


def test_hh_keeps_dialogue_and_choice_alone(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    assert export_preferences(ROWS, "hh", target).rows == 8

    def choices(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        other = {"a": "b", "b": "a"}
        return [
            (each["messages"], each[f"response_{each['chosen']}"], each[f"response_{other[each['chosen']]}"])
            for each in rows
        ]

    read = read_preferences([target], default_rating="slightly_better").rows.to_pylist()
    assert choices(read) == choices(ROWS)
    assert {(each["rating"], each["annotator"]) for each in read} == {("slightly_better", "import:hh")}


def test_what_hh_cannot_hold_is_left_out_and_counted(tmp_path: Path) -> None:
    marked = row(1, response_a="He said:\n\nHuman: no")
    opening = row(2, response_b="Assistant: yes")
    system = row(3, messages=[SYSTEM, *ROWS[0]["messages"]])
    done = export_preferences([ROWS[0], marked, system, opening], "hh", tmp_path / "out.jsonl")
    assert done == (2, {"holds_a_turn_mark": 1, "system_message": 1})
    assert read_preferences([tmp_path / "out.jsonl"]).rows.num_rows == 2


def test_datasets_opens_what_is_written_for_it(tmp_path: Path) -> None:
    from datasets import load_dataset

    target = tmp_path / "out.parquet"
    nothing = dict.fromkeys(("safety_label", "split", "policy_version_a", "temperature_milli_a", "finished_a"))
    export_preferences([*(row(number, **nothing) for number in range(8)), *ROWS], "datasets", target)
    loaded = load_dataset("parquet", data_files=str(target), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 16
    assert loaded[0]["chosen"] == [{"role": "assistant", "content": "north 0"}]
    assert loaded[0]["prompt"] == ROWS[0]["messages"]
    assert (loaded[0]["safety_label"], loaded[9]["safety_label"]) == (None, "both_safe")


def test_a_column_that_is_null_throughout_keeps_its_type(tmp_path: Path) -> None:
    export_preferences([row(0)], "datasets", tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.equals(SCHEMA)
    assert not [field.name for field in schema if pa.types.is_null(field.type)]


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    broken = row(1)
    del broken["chosen"]
    with pytest.raises(KeyError):
        export_preferences([ROWS[0], broken], "datasets", target)
    assert list(tmp_path.iterdir()) == []
    export_preferences(ROWS, "datasets", target)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    with pytest.raises(InputError, match=r"out\.parquet is there already: give another name, or --overwrite"):
        export_preferences(ROWS[:1], "datasets", target)
    export_preferences(ROWS[:1], "datasets", target, overwrite=True)
    assert pq.read_table(target).num_rows == 1


@pytest.mark.parametrize(
    ("format", "name", "rows", "message"),
    [
        ("trl", "x.jsonl", ROWS, "format is 'trl'; use one of argilla, label-studio, datasets, hh"),
        ("argilla", "x.jsonl", ROWS, r"a file of format argilla must be called \*\.json"),
        ("datasets", "x.jsonl", ROWS, r"a file of format datasets must be called \*\.parquet"),
        ("hh", "none/x.jsonl", ROWS, "there is no folder"),
        ("hh", "x.jsonl", [], "there is no preference to write"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, format: str, name: str, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_preferences(rows, format, tmp_path / name)
