import hashlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_store.content.row_hashing import encode_array, hash_order, hashes_in, row_hashes, set_hash
from data_store.encoding import encode

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TYPES = {
    "text": (pa.string(), st.none() | st.text(max_size=5)),
    "whole": (pa.int32(), st.none() | st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.none() | st.floats()),
    "flag": (pa.bool_(), st.none() | st.booleans()),
    "content": (pa.binary(), st.none() | st.binary(max_size=3)),
    "numbers": (pa.list_(pa.list_(pa.int64())), st.none() | st.lists(st.none() | st.lists(st.integers(0, 9)))),
    "messages": (
        MESSAGES,
        st.none()
        | st.lists(
            st.none()
            | st.fixed_dictionaries({"role": st.text(max_size=2), "content": st.none() | st.text(max_size=3)}),
            max_size=3,
        ),
    ),
}
ROWS = st.lists(st.fixed_dictionaries({name: values for name, (_, values) in TYPES.items()}), max_size=8)
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in TYPES.items()])


def slow_hashes(rows: list[dict[str, object]]) -> list[bytes]:
    """The definition: sha256 of the encoding of each row, one after the other."""
    return [hashlib.sha256(encode(row)).digest() for row in rows]


def with_other_contents_under_nulls(array: pa.Array) -> pa.Array:
    """The same values, with another text or number in the place of each null."""
    filled = array.fill_null("hidden" if pa.types.is_string(array.type) else 7)
    return pa.Array.from_buffers(array.type, len(array), [array.is_valid().buffers()[1], *filled.buffers()[1:]])


LAYOUTS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "as it is": lambda table: table,
    "one chunk": lambda table: table.combine_chunks(),
    "many chunks": lambda table: pa.Table.from_batches(table.to_batches(max_chunksize=2), schema=table.schema),
    "a slice of more": lambda table: pa.concat_tables([table, table, table]).combine_chunks()[
        len(table) : 2 * len(table)
    ],
    "columns in another order": lambda table: table.select(sorted(table.column_names, reverse=True)),
    "a dictionary": lambda table: table.set_column(0, "text", table["text"].dictionary_encode()),
    "wide offsets": lambda table: table.set_column(0, "text", table["text"].cast(pa.large_string())).set_column(
        table.column_names.index("messages"), "messages", table["messages"].cast(pa.large_list(MESSAGES.value_type))
    ),
    "other contents under nulls": lambda table: table.set_column(
        0, "text", with_other_contents_under_nulls(table["text"].combine_chunks())
    ).set_column(2, "long", with_other_contents_under_nulls(table["long"].combine_chunks())),
}


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(ROWS, st.integers(0, 8))
def test_by_columns_gives_what_by_values_gives(rows: list[dict[str, object]], start: int) -> None:
    array = pa.array(rows, pa.struct(list(SCHEMA))).slice(min(start, len(rows)))
    assert encode_array(array).to_pylist() == [encode(row) for row in array.to_pylist()]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=15)
@given(ROWS)
def test_the_hash_of_a_row_is_the_sha256_of_its_encoding_however_arrow_lays_the_table_out(
    layout: str, rows: list[dict[str, object]]
) -> None:
    table = LAYOUTS[layout](pa.Table.from_pylist(rows, schema=SCHEMA))
    assert row_hashes(table).to_pylist() == slow_hashes(rows)


def test_the_hashes_of_more_rows_than_one_batch_stand_in_their_order() -> None:
    rows: list[dict[str, object]] = [{"text": str(n), "n": None if n % 3 else n} for n in range(20_000)]
    assert row_hashes(pa.Table.from_pylist(rows)).to_pylist() == slow_hashes(rows)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=2, max_size=2), max_size=6))
def test_hashes_are_ordered_by_all_their_bytes(ends: list[bytes]) -> None:
    hashes = [end[:1] + b"\x80" * 30 + end[1:] for end in ends]
    assert [hashes[place] for place in hash_order(hashes_in(b"".join(hashes)))] == sorted(hashes)


def test_a_column_without_an_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="column of type date32"):
        row_hashes(pa.table({"day": pa.array([1], pa.int32()).cast(pa.date32())}))


def test_the_order_of_columns_does_not_matter() -> None:
    table = pa.table({"a": ["x"], "b": [1]})
    assert row_hashes(table).equals(row_hashes(table.select(["b", "a"])))


def test_a_wider_integer_type_keeps_the_hash() -> None:
    narrow, wide = (row_hashes(pa.table({"a": pa.array([7], kind)})) for kind in (pa.int32(), pa.int64()))
    assert narrow.equals(wide)


def test_the_set_hash_is_free_of_order() -> None:
    a, b = b"\1" * 32, b"\2" * 32
    assert set_hash(hashes_in(a + b)) == set_hash(hashes_in(b + a)) == hashlib.sha256(a + b).hexdigest()
