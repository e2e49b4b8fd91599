"""Every format has its sample, which is told from the others by its fields and read as what it says, whatever container
it stands in."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.reading.dialogue_formats.format import Names
from data_store.reading.dialogue_formats.registry import DIALOGUE_FORMATS
from data_store.reading.preference_formats.registry import FORMATS
from data_store.reading.readers import read_dialogues, read_preferences
from tests.data_store.reading.format_samples import ASKED, BAD, DIALOGUES, GOOD, PREFERENCES

SAMPLES = [(format, name) for format, samples in PREFERENCES.items() for name in samples]


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def the_pair(path: Path, axis: str) -> dict[str, Any]:
    """The only row; what it says is checked."""
    read = read_preferences([path], axis=axis)
    assert read.refused.num_rows == 0
    (row,) = read.rows.to_pylist()
    last = row["messages"][-1]
    assert last["role"] == "user"
    assert ASKED in last["content"]
    assert (row[f"response_{row['chosen']}"], {row["response_a"], row["response_b"]}) == (GOOD, {GOOD, BAD})
    return row


@pytest.mark.parametrize(("format", "name"), SAMPLES)
def test_a_sample_is_told_by_its_fields_and_read_as_what_it_says(tmp_path: Path, format: str, name: str) -> None:
    axis = "safety" if format == "safety_labels" else "helpfulness"
    records = PREFERENCES[format][name]
    for record in records:
        given = {key: value for key, value in record.items() if value is not None}
        assert next(each.name for each in FORMATS.values() if each.recognises(given)) == format
    row = the_pair(jsonl(tmp_path / "a.jsonl", *records), axis)
    assert row["preference_id"] == f"{axis}/{row['source']}"


@pytest.mark.parametrize(("format", "name"), SAMPLES)
def test_a_sample_is_the_same_in_parquet(tmp_path: Path, format: str, name: str) -> None:
    axis = "safety" if format == "safety_labels" else "helpfulness"
    pq.write_table(pa.Table.from_pylist(list(PREFERENCES[format][name])), tmp_path / "a.parquet")
    plain, table = (jsonl(tmp_path / "a.jsonl", *PREFERENCES[format][name]), tmp_path / "a.parquet")
    words = ("messages", "rating", "safety_label", "split", "annotator", "axis")
    rows = [the_pair(path, axis) for path in (plain, table)]
    assert {key: rows[0][key] for key in words} == {key: rows[1][key] for key in words}


def test_there_is_a_sample_of_every_format() -> None:
    assert list(PREFERENCES) == [name for name in PREFERENCES if name in FORMATS]
    assert set(PREFERENCES) == set(FORMATS)
    assert list(DIALOGUES) == list(DIALOGUE_FORMATS)


def test_two_axes_of_one_file_are_two_judgements_with_ids_of_their_own(tmp_path: Path) -> None:
    (record,) = PREFERENCES["pku_saferlhf"]["two_axes"]
    file = jsonl(tmp_path / "a.jsonl", {**record, "better_response_id": 1})
    rows = {axis: read_preferences([file], axis=axis).rows.to_pylist()[0] for axis in ("helpfulness", "safety")}
    chosen = {axis: (row["chosen"], row["safety_label"]) for axis, row in rows.items()}
    assert chosen == {"helpfulness": ("b", None), "safety": ("a", "chosen_safe_other_unsafe")}
    assert {row["preference_id"] for row in rows.values()} == {"helpfulness/a.jsonl:1", "safety/a.jsonl:1"}
    assert {row["prompt_id"] for row in rows.values()} == {rows["safety"]["prompt_id"]}


@pytest.mark.parametrize("format", DIALOGUES)
def test_a_dialogue_is_told_by_its_fields_and_read_as_what_it_says(tmp_path: Path, format: str) -> None:
    record = DIALOGUES[format]
    assert next(each.name for each in DIALOGUE_FORMATS.values() if each.recognises(record, Names())) == format
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "a.parquet")
    for path in (jsonl(tmp_path / "a.jsonl", record), tmp_path / "a.parquet"):
        read = read_dialogues([path])
        assert read.refused.num_rows == 0
        (row,) = read.rows.to_pylist()
        assert row["messages"] == [{"role": "user", "content": ASKED}, {"role": "assistant", "content": GOOD}]
