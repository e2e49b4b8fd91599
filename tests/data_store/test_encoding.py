import hashlib
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_store.encoding import canonical_json, encode, encode_array, row_hashes, set_hash

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TYPES = {
    "text": (pa.string(), st.none() | st.text(max_size=5)),
    "whole": (pa.int32(), st.none() | st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.none() | st.floats()),
    "flag": (pa.bool_(), st.none() | st.booleans()),
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


def test_the_encoding_of_each_type_is_as_written_down() -> None:
    assert encode(None) == b"n"
    assert (encode(True), encode(False)) == (b"t", b"f")
    assert encode(-2) == b"i" + b"\xff" * 7 + b"\xfe"
    assert encode(1.0) == b"d" + bytes.fromhex("3ff0000000000000")
    assert encode("é") == b"s" + b"\0" * 7 + b"\x02" + b"\xc3\xa9"
    assert encode(b"x") == b"b" + b"\0" * 7 + b"\x01x"
    assert encode([None]) == b"l" + b"\0" * 7 + b"\x01n"
    assert encode({"b": None, "a": True}) == b"m" + b"\0" * 7 + b"\x02" + encode("a") + b"t" + encode("b") + b"n"


def test_values_that_print_alike_are_told_apart() -> None:
    values = ["1", 1, 1.0, True, None, "", [], {}, [1], ["1"], [[], []], [[[]]], b"1", 0.0, -0.0]
    assert len({encode(value) for value in values}) == len(values)


def test_lengths_keep_neighbours_from_running_together() -> None:
    assert encode(["ab", "c"]) != encode(["a", "bc"])
    assert encode({"a": "bc"}) != encode({"ab": "c"})


def test_every_nan_is_one_nan() -> None:
    assert encode(math.nan) == encode(-math.nan) == encode(float("nan"))


def test_a_value_without_an_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no encoding"):
        encode({1})


@settings(deadline=None)
@given(ROWS, st.integers(0, 8))
def test_by_columns_gives_what_by_values_gives(rows: list[dict[str, object]], start: int) -> None:
    array = pa.array(rows, pa.struct(list(SCHEMA))).slice(min(start, len(rows)))
    assert encode_array(array) == [encode(row) for row in array.to_pylist()]


@settings(deadline=None)
@given(ROWS, st.integers(1, 3))
def test_the_hash_of_a_row_is_the_sha256_of_its_encoding_however_the_table_is_cut(
    rows: list[dict[str, object]], size: int
) -> None:
    whole = pa.Table.from_pylist(rows, schema=SCHEMA)
    cut = pa.Table.from_batches(whole.to_batches(max_chunksize=size), schema=SCHEMA)
    assert row_hashes(whole) == row_hashes(cut) == [hashlib.sha256(encode(row)).digest() for row in whole.to_pylist()]


def test_the_order_of_columns_does_not_matter() -> None:
    table = pa.table({"a": ["x"], "b": [1]})
    assert row_hashes(table) == row_hashes(table.select(["b", "a"]))


def test_a_wider_integer_type_keeps_the_hash() -> None:
    assert row_hashes(pa.table({"a": pa.array([7], pa.int32())})) == row_hashes(
        pa.table({"a": pa.array([7], pa.int64())})
    )


def test_the_set_hash_is_free_of_order() -> None:
    a, b = b"\1" * 32, b"\2" * 32
    assert set_hash([a, b]) == set_hash([b, a]) == hashlib.sha256(a + b).hexdigest()


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(math.inf)
