"""Records out of every kind of file: the same records, each with its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows
from data_store.reading.containers import read_records
from data_store.reading.source_files import source_files

ROWS = [{"q": "Who?", "a": "The keeper."}, {"q": "등대?", "a": "북쪽"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def records(path: Path, bad: BadRows | None = None) -> list[tuple[str, dict[str, Any]]]:
    return [(each.source, each.fields) for each in read_records(source_files([path])[0], bad)]


def write(path: Path) -> Path:
    """The rows in the kind of file that the path's ending says."""
    plain = {
        "jsonl": LINES,
        "json": json.dumps(ROWS, indent=1),
        "csv": "q,a\nWho?,The keeper.\n등대?,북쪽\n",
        "tsv": "q\ta\nWho?\tThe keeper.\n등대?\t북쪽\n",
    }
    table = pa.Table.from_pylist(ROWS)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain[path.suffixes[-2][1:]].encode()))
    elif path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as packed:
            packed.write(plain[path.suffixes[-2][1:]].encode())
    else:
        path.write_text(plain[path.suffix[1:]])
    return path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("a.jsonl", (1, 2)),
        ("a.jsonl.gz", (1, 2)),
        ("a.jsonl.zst", (1, 2)),
        ("a.json", ("2#0", "6#1")),
        ("a.json.zst", ("2#0", "6#1")),
        ("a.csv", (2, 3)),
        ("a.csv.gz", (2, 3)),
        ("a.tsv", (2, 3)),
        ("a.parquet", (0, 1)),
        ("a.arrow", (0, 1)),
    ],
)
def test_the_same_records_come_out_of_every_kind_of_file(tmp_path: Path, name: str, places: tuple[Any, Any]) -> None:
    expected = [(f"{name}:{place}", row) for place, row in zip(places, ROWS, strict=True)]
    assert records(write(tmp_path / name)) == expected


def test_a_json_file_may_have_one_object_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n" + LINES)
    assert records(tmp_path / "a.json") == [("a.json:2", ROWS[0]), ("a.json:3", ROWS[1])]


def test_an_arrow_file_is_read_as_a_stream_is(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    assert [fields for _, fields in records(tmp_path / "a.arrow")] == ROWS


def test_what_a_data_set_saves_to_disk_can_be_read(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "set"))
    (file,) = (tmp_path / "set").glob("*.arrow")
    assert [fields for _, fields in records(file)] == ROWS


def test_what_is_null_in_a_table_is_not_given(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": ["a", "b"], "system": pa.array([None, "s"], pa.string())}), tmp_path / "a.parquet")
    assert [fields for _, fields in records(tmp_path / "a.parquet")] == [{"q": "a"}, {"q": "b", "system": "s"}]
    first = next(read_records(source_files([tmp_path / "a.parquet"])[0]))
    with pytest.raises(InputError, match=r"a\.parquet row 0: field 'system' is empty; fill or remove the row"):
        first.text("system")
    with pytest.raises(InputError, match=r"a\.parquet row 0: there is no field 'other'; the fields are q"):
        first.text("other")


def test_lines_that_cannot_be_read_are_left_out_with_their_place_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"q": "a"}\n{broken\n[1]\n{"q": "b"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl line 2: not JSON"):
        records(file)
    bad = BadRows(drop=True)
    assert [source for source, _ in records(file, bad)] == ["a.jsonl:1", "a.jsonl:4"]
    assert [(each.source, each.reason) for each in bad.taken()] == [("a.jsonl:2", "bad_row"), ("a.jsonl:3", "bad_row")]
    table = tmp_path / "a.csv"
    table.write_text("q,a\nx,y\nx\nz,y\n")
    assert [source for source, _ in records(table, bad)] == ["a.csv:2", "a.csv:4"]
    (met,) = bad.taken()
    assert met.detail.startswith("a.csv line 3: 1 fields, but the header has 2")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b"PAR1 no"), ("a.arrow", b"no arrow"), ("a.jsonl.zst", b"no zstd"), ("a.xlsx", b"PK")],
)
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name.replace('.', '[.]')}"):
        records(tmp_path / name, BadRows(drop=True))
