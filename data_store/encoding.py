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

`encode` is the definition; `row_hashing.py` gives the same bytes for whole columns of Arrow.
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

pack_length = struct.Struct(">Q").pack
_INT = struct.Struct(">q").pack
_FLOAT = struct.Struct(">d").pack
_NAN = b"d" + bytes.fromhex("7ff8000000000000")


def encode(value: Any) -> bytes:
    """The encoding of one Python value; raises TypeError for a type that has none, struct.error past 64 bits."""
    if isinstance(value, str):  # what there is most of comes first
        text = value.encode()
        return b"s" + pack_length(len(text)) + text
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"i" + _INT(value)
    if isinstance(value, float):
        return _NAN if math.isnan(value) else b"d" + _FLOAT(value)
    if isinstance(value, list | tuple):
        return b"l" + pack_length(len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict | Mapping):
        pairs = b"".join([_name(name) + encode(value[name]) for name in sorted(value)])
        return b"m" + pack_length(len(value)) + pairs
    if isinstance(value, bytes):
        return b"b" + pack_length(len(value)) + value
    raise TypeError(f"a {type(value).__name__} has no encoding")


@lru_cache(1024)
def _name(name: str) -> bytes:
    """A name of a struct, of which there are few."""
    return encode(name)


def content_hash(value: Any) -> str:
    """sha256 of the encoding of a value, hexadecimal."""
    return hashlib.sha256(encode(value)).hexdigest()


def text_hash(text: str) -> str:
    """sha256 of the UTF-8 text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; raises ValueError for NaN and infinities, TypeError for foreign types."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
