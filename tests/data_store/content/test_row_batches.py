"""Rows as dictionaries: what Arrow's own gives, whatever stands in the columns."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_store.content import row_batches
from data_store.content.row_batches import StoredRows, row_dicts
from data_store.rows import MESSAGES

TURNS = [{"role": "user", "content": "Hé"}, {"role": "assistant", "content": ""}]
TABLE = pa.table(
    {
        "text": pa.array(["a", None, "", "ß"]),
        "word": pa.array(["a", "b", "a", "b"]).dictionary_encode(),
        "whole": pa.array([1, -(2**31), 0, 7], pa.int32()),
        "some": pa.array([None, 2, 3, 4], pa.int64()),
        "value": pa.array([0.5, float("inf"), -0.0, 1.0]),
        "some_value": pa.array([0.5, None, -0.0, 1.0]),
        "truth": pa.array([True, False, True, False]),
        "some_truth": pa.array([True, None, False, None]),
        "nothing": pa.nulls(4, pa.string()),
        "messages": pa.array([TURNS, [], TURNS[:1], [None]], MESSAGES),
        "ids": pa.array([[1, 2], None, [], [3]], pa.list_(pa.int32())),
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
    }
)


def test_rows_are_what_arrow_makes_of_them_in_values_and_in_types() -> None:
    for table in (TABLE, TABLE.slice(1, 2), TABLE.slice(4), pa.concat_tables([TABLE, TABLE.slice(2)])):
        assert repr(row_dicts(table)) == repr(table.to_pylist())


def test_rows_of_several_files_come_one_after_the_other_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "_BATCH_ROWS", 3)
    pq.write_table(TABLE, tmp_path / "a", row_group_size=2)
    pq.write_table(TABLE.slice(0, 0), tmp_path / "b")
    rows = StoredRows([tmp_path / "a", tmp_path / "b", tmp_path / "a"])
    assert len(rows) == 8
    assert repr(list(rows)) == repr(list(rows)) == repr(2 * pq.read_table(tmp_path / "a").to_pylist())
    assert list(StoredRows([])) == []
