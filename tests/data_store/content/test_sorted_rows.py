"""Rows sorted by hash in several runs on the disk, and what is made of them."""

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from data_store.content.row_hashing import hash_order, hashes_in, row_hashes
from data_store.content.sorted_rows import SortedRows

SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("number", pa.int64())])


def rows(count: int) -> pa.Table:
    return pa.table([[f"row {number}" for number in range(count)], list(range(count))], schema=SCHEMA)


@pytest.mark.parametrize("run_bytes", [1, 200, 3000, 1 << 24])
@pytest.mark.conformance(
    "rows that do not fit into memory come in another order, or twice, or not at all",
    equation="data_store.content.sorted_rows:SortedRows.tables",
)
def test_however_much_is_held_at_once_the_rows_come_in_the_order_of_their_hashes(
    tmp_path: Path, run_bytes: int
) -> None:
    table = rows(300)
    with closing(SortedRows(tmp_path, SCHEMA, run_bytes)) as given:
        for start in range(0, 300, 70):
            piece = table.slice(start, 70)
            given.add(piece, row_hashes(piece))
        found = pa.concat_tables(given.tables())
        hashes = row_hashes(table)
        order = pa.array(hash_order(hashes))
        assert found.drop_columns(["row_hash"]).equals(table.take(order))
        assert given.hashes().equals(hashes.take(order))
        assert found.column("row_hash").to_pylist() == given.hashes().to_pylist()
        assert any(tmp_path.iterdir()) == (run_bytes < 1 << 24)
    assert not any(tmp_path.iterdir())


def test_no_row_at_all_is_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    with closing(SortedRows(tmp_path, SCHEMA)) as none:
        (table,) = none.tables()
        assert (table.num_rows, table.column_names) == (0, ["name", "number", "row_hash"])
        assert len(none.hashes()) == 0


def test_hashes_that_begin_alike_are_ordered_by_what_follows() -> None:
    begin = bytes(range(8))
    hashes = [begin + bytes([last]) + bytes(23) for last in (3, 1, 2)]
    assert hash_order(hashes_in(b"".join(hashes))).tolist() == [1, 2, 0]
