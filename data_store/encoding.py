"""The one encoding behind every hash of the store: type-tagged, length-prefixed, the same on every machine.

A value is encoded as a tag and its content; lengths and counts are unsigned 64-bit, everything is big-endian:

    null            n
    bool            t | f
    int             i + 8 bytes, two's complement            (int32 and int64 of one value are the same)
    float           d + 8 bytes, IEEE 754                    (every NaN is one NaN)
    str             s + length + UTF-8
    bytes           b + length + bytes
    list            l + count + items
    struct          m + count + (name as str, value) in order of name

A row is a struct. The hash of a row is the sha256 of its encoding; the hash of a set of rows is the sha256 over the
sorted row hashes, so the order of the rows does not matter. Floats are never printed: every tool does it differently.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

_LENGTH = struct.Struct(">Q").pack
_INT = struct.Struct(">q").pack
_FLOAT = struct.Struct(">d").pack
_NAN = b"d" + bytes.fromhex("7ff8000000000000")


def encode(value: Any) -> bytes:
    """The encoding of one Python value; raises TypeError for a type that has none, struct.error past 64 bits."""
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"i" + _INT(value)
    if isinstance(value, float):
        return _NAN if math.isnan(value) else b"d" + _FLOAT(value)
    if isinstance(value, str):
        text = value.encode()
        return b"s" + _LENGTH(len(text)) + text
    if isinstance(value, bytes):
        return b"b" + _LENGTH(len(value)) + value
    if isinstance(value, Mapping):
        pairs = b"".join(encode(name) + encode(value[name]) for name in sorted(value))
        return b"m" + _LENGTH(len(value)) + pairs
    if isinstance(value, list | tuple):
        return b"l" + _LENGTH(len(value)) + b"".join(map(encode, value))
    raise TypeError(f"a {type(value).__name__} has no encoding")


def content_hash(value: Any) -> str:
    """sha256 of the encoding of a value, hexadecimal."""
    return hashlib.sha256(encode(value)).hexdigest()


def text_hash(text: str) -> str:
    """sha256 of the UTF-8 text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; raises ValueError for NaN and infinities, TypeError for foreign types."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def row_hashes(table: pa.Table) -> list[bytes]:
    """The 32-byte hash of each row, in the table's order; works column by column, so it is fast."""
    sha256 = hashlib.sha256
    hashes: list[bytes] = []
    for batch in table.combine_chunks().to_batches(max_chunksize=65536):
        columns = pa.StructArray.from_arrays(batch.columns, names=batch.schema.names)
        hashes += [sha256(row).digest() for row in encode_array(columns)]
    return hashes


def set_hash(hashes: Iterable[bytes]) -> str:
    """sha256 over the sorted row hashes, hexadecimal: free of the order of the rows."""
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()


def encode_array(array: pa.Array) -> list[bytes]:
    """`[encode(value) for value in array.to_pylist()]`, by columns instead of by values."""
    kind = array.type
    if pat.is_string(kind) or pat.is_large_string(kind):
        texts = array.cast(pa.large_binary()).to_pylist()
        return [b"n" if text is None else b"s" + _LENGTH(len(text)) + text for text in texts]
    if pat.is_integer(kind):
        return [b"n" if value is None else b"i" + _INT(value) for value in array.to_pylist()]
    if pat.is_struct(kind):
        return _encode_structs(array)
    if pat.is_list(kind) or pat.is_large_list(kind):
        return _encode_lists(array)
    return [encode(value) for value in array.to_pylist()]


def _encode_structs(array: pa.StructArray) -> list[bytes]:
    names = sorted(field.name for field in array.type)
    head = b"m" + _LENGTH(len(names))
    columns: list[list[bytes]] = []
    for position, name in enumerate(names):
        # The constant in front of each value is glued on once per column: cheaper than one more join per row.
        prefix = (b"" if position else head) + encode(name)
        columns.append([prefix + value for value in encode_array(array.field(name))])
    rows = list(map(b"".join, zip(*columns, strict=True))) if columns else [head] * len(array)
    if array.null_count:
        return [row if valid else b"n" for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    return rows


def _encode_lists(array: pa.ListArray) -> list[bytes]:
    lengths = array.value_lengths().to_pylist()
    items = encode_array(array.flatten())
    ends = accumulate(length or 0 for length in lengths)
    return [
        b"n" if length is None else b"l" + _LENGTH(length) + b"".join(items[end - length : end])
        for length, end in zip(lengths, ends, strict=True)
    ]
