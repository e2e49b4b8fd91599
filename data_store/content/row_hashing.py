"""The hashes of rows, by whole columns: what `encoding.py` defines value by value, for millions of rows.

The encoding speaks of values alone: how Arrow lays a column out (chunks, slices, width of offsets, dictionaries, what
lies under a null) does not show in it.
"""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from data_store.encoding import encode, pack_length

ROW_HASH = pa.binary(32)
_WORDS = 4  # of 64 bits in a hash
_BATCH = 8192  # rows that are encoded at once: few enough that they stay in the processor's cache
_BYTES = pa.large_binary()
_Piece: TypeAlias = bytes | pa.LargeBinaryArray


def row_hashes(table: pa.Table) -> pa.FixedSizeBinaryArray:
    """The hash of each row (binary(32)), in the table's order. Raises TypeError for a column that has no encoding."""
    sha256 = hashlib.sha256
    hashes: list[bytes] = []
    for batch in table.to_batches(max_chunksize=_BATCH):
        rows = encode_array(pa.StructArray.from_arrays(batch.columns, names=batch.schema.names))
        content, ends = memoryview(rows.buffers()[2] or b""), _offsets(rows).tolist()
        hashes += [sha256(content[start:end]).digest() for start, end in pairwise(ends)]
    return hashes_in(b"".join(hashes))


def hashes_in(packed: bytes) -> pa.FixedSizeBinaryArray:
    """Row hashes that lie one after the other, as an array; nothing is copied."""
    return pa.FixedSizeBinaryArray.from_buffers(
        ROW_HASH, len(packed) // ROW_HASH.byte_width, [None, pa.py_buffer(packed)]
    )


def packed_hashes(hashes: pa.FixedSizeBinaryArray) -> bytes:
    """The reverse of `hashes_in`."""
    width = ROW_HASH.byte_width
    packed: bytes = hashes.buffers()[1].slice(hashes.offset * width, len(hashes) * width).to_pybytes()
    return packed


def hash_words(hashes: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint64]:
    """Hashes (N) as numbers (N, 4) that are in the same order."""
    return np.frombuffer(packed_hashes(hashes), ">u8").reshape(len(hashes), _WORDS).astype(np.uint64)


def hash_order(hashes: pa.FixedSizeBinaryArray) -> npt.NDArray[np.int64]:
    """Where in `hashes` the least one is, the next, and so on."""
    words = hash_words(hashes)
    order = np.argsort(words[:, 0], kind="stable")
    first = words[order, 0]
    if (first[1:] == first[:-1]).any():  # hardly ever: the first of four words tells hashes apart
        order = np.lexsort(words.T[::-1])
    return order.astype(np.int64)


def batch_hashes(batches: Iterable[pa.RecordBatch]) -> pa.FixedSizeBinaryArray:
    """The same of rows that come in batches, of which one is held at a time."""
    return hashes_in(b"".join(packed_hashes(row_hashes(pa.Table.from_batches([batch]))) for batch in batches))


def set_hash(hashes: pa.FixedSizeBinaryArray) -> str:
    """sha256 over the sorted row hashes, hexadecimal: free of the order of the rows."""
    return hashlib.sha256(packed_hashes(hashes.take(pa.array(hash_order(hashes))))).hexdigest()


def encode_array(array: pa.Array) -> pa.LargeBinaryArray:
    """`[encode(value) for value in array.to_pylist()]`, by columns instead of by values: the headers (tag, length) are
    laid out by numpy, the pieces of each value are joined by Arrow. Raises TypeError for a type that has no encoding,
    pyarrow.ArrowInvalid past 64 bits.
    """
    return _join(_pieces(array), len(array))


def _pieces(array: pa.Array) -> list[_Piece]:
    """What the encoding of each value consists of, in order: bytes that all share, or an array without nulls."""
    kind = array.type
    if len(array) and array.null_count == len(array):
        return [b"n"]
    if pat.is_dictionary(kind):
        return _pieces(array.dictionary_decode())
    if pat.is_string(kind) or pat.is_large_string(kind):
        return _variable(array, b"s")
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return _variable(array, b"b")
    if pat.is_integer(kind):
        return [_headers(b"i", _numbers(array, pa.int64()).astype(">i8"), array)]
    if pat.is_floating(kind):
        numbers = _numbers(array, pa.float64())
        return [_headers(b"d", np.where(np.isnan(numbers), np.nan, numbers).astype(">f8"), array)]
    if pat.is_boolean(kind):
        return [pc.if_else(array, *(pa.scalar(tag, _BYTES) for tag in (b"t", b"f"))).fill_null(b"n")]
    if pat.is_null(kind):
        return [b"n"]
    if pat.is_list(kind) or pat.is_large_list(kind):
        return _list_pieces(array)
    if pat.is_struct(kind):
        return _struct_pieces(array)
    raise TypeError(f"a column of type {kind} has no encoding")


def _variable(array: pa.Array, tag: bytes) -> list[_Piece]:
    content = array.cast(_BYTES)
    lengths = _numbers(pc.binary_length(content), pa.int64())
    return [_headers(tag, lengths.astype(">u8"), array), content.fill_null(b"") if content.null_count else content]


def _struct_pieces(array: pa.StructArray) -> list[_Piece]:
    names = sorted(field.name for field in array.type)
    pieces: list[_Piece] = [b"m" + pack_length(len(names))]
    for name in names:
        pieces += [encode(name), *_pieces(array.field(name))]
    if array.null_count:
        rows = pc.if_else(array.is_valid(), _join(pieces, len(array)), pa.scalar(b"n", _BYTES))
        return [rows]
    return pieces


def _list_pieces(array: pa.ListArray | pa.LargeListArray) -> list[_Piece]:
    lengths = _numbers(array.value_lengths(), pa.int64())
    items = encode_array(array.flatten())  # without what lies under nulls
    # The encoded items of one list lie side by side already: to join them is to leave out the ends between them.
    ends = _offsets(items)[np.concatenate(([0], np.cumsum(lengths)))]
    return [_headers(b"l", lengths.astype(">u8"), array), _binary(ends, items.buffers()[2])]


def _numbers(array: pa.Array, kind: pa.DataType) -> npt.NDArray[Any]:
    """The values as numpy, 0 for a null."""
    wide = array.cast(kind)
    numbers: npt.NDArray[Any] = (wide.fill_null(0) if wide.null_count else wide).to_numpy(zero_copy_only=False)
    return numbers


def _headers(tag: bytes, numbers: npt.NDArray[Any], array: pa.Array) -> pa.LargeBinaryArray:
    """The tag and 8 bytes for each value (`numbers` is big-endian), the single byte n for each null of `array`."""
    count = len(numbers)
    table = np.empty((count, 9), np.uint8)
    table[:, 0] = tag[0]
    table[:, 1:] = numbers.view(np.uint8).reshape(count, 8)
    if not array.null_count:
        return _binary(np.arange(0, 9 * count + 1, 9), pa.py_buffer(table))
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    table[~valid, 0] = ord("n")
    sizes = np.where(valid, 9, 1)
    return _binary(np.concatenate(([0], np.cumsum(sizes))), pa.py_buffer(table[np.arange(9) < sizes[:, None]]))


def _join(pieces: list[_Piece], count: int) -> pa.LargeBinaryArray:
    """The pieces of each of `count` values, one after the other."""
    pieces = _merged(pieces)
    if all(isinstance(piece, bytes) for piece in pieces):
        return pa.array([b"".join(pieces)] * count, _BYTES)
    texts = [pa.scalar(piece, _BYTES) if isinstance(piece, bytes) else piece for piece in pieces]
    return pc.binary_join_element_wise(*texts, pa.scalar(b"", _BYTES))


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    """The same with bytes that follow each other in one: each piece costs Arrow a pass."""
    merged: list[_Piece] = []
    for piece in pieces:
        if merged and isinstance(piece, bytes) and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _binary(ends: npt.NDArray[np.int64], content: pa.Buffer) -> pa.LargeBinaryArray:
    return pa.LargeBinaryArray.from_buffers(_BYTES, len(ends) - 1, [None, pa.py_buffer(ends), content])


def _offsets(array: pa.LargeBinaryArray) -> npt.NDArray[np.int64]:
    """Where each value begins in the content, and where the last one ends."""
    ends: npt.NDArray[np.int64] = np.frombuffer(array.buffers()[1], np.int64)
    return ends[array.offset : array.offset + len(array) + 1]
