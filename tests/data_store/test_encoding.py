import math

import pytest

from data_store.encoding import canonical_json, encode


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


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(math.inf)
