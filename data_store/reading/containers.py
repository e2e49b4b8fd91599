"""Records out of files of every kind in which data sets are handed round, whatever their format is.

Line by line or batch by batch, so that memory stays bounded; a list in a .json file is read whole.
"""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.files import open_batches
from data_store.reading.bad_rows import BadRows
from data_store.reading.source_files import Record, SourceFile, kind_of, listed, read_lines

KINDS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
_LARGEST_FIELD = 2**31 - 1  # whole documents stand in one field; the default limit is 131,072 characters
_BATCH_ROWS = 256


def read_records(file: SourceFile, bad: BadRows | None = None) -> Iterator[Record]:
    """The records of a .jsonl, .json (one list of objects, or one object a line), .csv, .tsv, .parquet or .arrow file,
    those of text each also with .gz or .zst; empty lines are passed over. A source is FILE:LINE; FILE:LINE#N of a list,
    whose records may share a line; FILE:ROW, from 0, where a file has columns.

    Raises InputError where a file cannot be read, and for a line that cannot, unless `bad` has it dropped.
    """
    bad = bad or BadRows()
    told = {name: value for name in ("axis", "split") if (value := getattr(file.options, name)) is not None}
    found = islice(_records(file, bad), bad.most)
    if told:
        return (replace(record, fields={**record.fields, **told}) for record in found)
    return found


def _records(file: SourceFile, bad: BadRows) -> Iterator[Record]:
    if file.format == "jsonl":
        return _json_records(file, bad)
    if file.format == "json":
        return _json_records(file, bad) if _begins_with_object(file) else _listed_records(file)
    if file.format in ("csv", "tsv"):
        return _separated_records(file, "," if file.format == "csv" else "\t", bad)
    if file.format in ("parquet", "arrow"):
        return _column_records(file)
    raise InputError(f"{file.path}: cannot read this kind of file here; use .{', .'.join(KINDS)}")


def read_parquet_column(file: SourceFile, column: str, batch_rows: int) -> Iterator[tuple[int, list[str]]]:
    """(row number from 0 of the first, texts) of one text column, batch by batch."""
    row = 0
    try:
        with open_batches(file.path) as parquet:
            if column not in parquet.schema_arrow.names:
                there = listed(parquet.schema_arrow.names)
                raise InputError(f"{file.path}: there is no column {column!r}; the columns are {there}")
            for batch in parquet.iter_batches(batch_rows, columns=[column]):
                texts = batch.column(0).cast(pa.string())
                texts.validate(full=True)  # Arrow does not look at the bytes until asked
                if texts.null_count:
                    broken = row + texts.is_null().to_pylist().index(True)
                    raise InputError(f"{file.path} row {broken}: column {column!r} is empty; fill or remove the row")
                yield row, texts.to_pylist()
                row += len(texts)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.path}: column {column!r} cannot be read as text after row {row}: {error}") from None


def _json_records(file: SourceFile, bad: BadRows) -> Iterator[Record]:
    for number, line in read_lines(file):
        if not line.strip():
            continue
        where, source = f"{file.path} line {number}", f"{file.name}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.meet(InputError(f"{where}: not JSON ({error}); fix or remove the line"), source)
            continue
        if isinstance(fields, dict):
            yield Record(where, source, fields)
        else:
            wrong = f"a JSON object is wanted, not {kind_of(fields)}"
            bad.meet(InputError(f"{where}: {wrong}; fix or remove the line"), source)


def _begins_with_object(file: SourceFile) -> bool:
    """Whether a .json file has an object a line, as the `json` of many data sets does."""
    first = next((line.lstrip() for _, line in read_lines(file) if line.strip()), "")
    return first.startswith("{")


def _listed_records(file: SourceFile) -> Iterator[Record]:
    text = "\n".join(line for _, line in read_lines(file))
    line, place = 1, 0

    def skip(separator: str) -> str:
        """Pass over blanks around one separator; gives the next character."""
        nonlocal line, place
        found = re.compile(rf"\s*{separator}\s*").match(text, place)
        if found is None:
            blanks = len(text[place:]) - len(text[place:].lstrip())
            raise InputError(
                f"{file.path} line {line + text.count(chr(10), place, place + blanks)}: a list of JSON objects is "
                "wanted, such as [{…}, {…}], or one object a line"
            )
        line += text.count("\n", place, found.end())
        place = found.end()
        return text[place : place + 1]

    following, number = skip(r"\["), 0
    while following != "]":
        where = f"{file.path} line {line} (record {number})"
        try:
            fields, end = json.JSONDecoder().raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({error}); fix or remove the record") from None
        if not isinstance(fields, dict):
            raise InputError(f"{where}: a JSON object is wanted, not {kind_of(fields)}; fix or remove the record")
        yield Record(where, f"{file.name}:{line}#{number}", fields)
        line += text.count("\n", place, end)
        place, number = end, number + 1
        following = skip(r"(?:,(?!\s*\])|(?=\]))")


def _separated_records(file: SourceFile, separator: str, bad: BadRows) -> Iterator[Record]:
    csv.field_size_limit(_LARGEST_FIELD)
    lines = (f"{line}\n" for _, line in read_lines(file))
    reader = csv.reader(lines, strict=True, delimiter=separator)
    name, start = file.format.upper(), 1
    try:
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise InputError(f"{file.path} line 1: a column's name comes twice in {listed(header)}; rename one")
        start = reader.line_num + 1
        for row in reader:
            where, source = f"{file.path} line {start}", f"{file.name}:{start}"
            if row and len(row) != len(header):
                wrong = f"{len(row)} fields, but the header has {len(header)} ({listed(header)})"
                quoted = "fix the line, and put fields that hold commas in double quotes"
                bad.meet(InputError(f"{where}: {wrong}; {quoted}"), source)
            elif row:
                yield Record(where, source, dict(zip(header, row, strict=True)))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{file.path} line {start}: not {name} ({error}); fix the line") from None


def _column_records(file: SourceFile) -> Iterator[Record]:
    """Of a table: what is null there is not given."""
    number = 0
    try:
        for batch in _batches(file):
            batch.validate(full=True)  # Arrow does not look at the bytes until asked
            for row in batch.to_pylist():
                fields = {name: value for name, value in row.items() if value is not None}
                empty = tuple(name for name in row if name not in fields)
                yield Record(f"{file.path} row {number}", f"{file.name}:{number}", fields, empty)
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file.path}: cannot be read after row {number}: {error}") from None


def _batches(file: SourceFile) -> Iterator[pa.RecordBatch]:
    if file.format == "parquet":
        with open_batches(file.path) as parquet:
            yield from parquet.iter_batches(_BATCH_ROWS)
        return
    with pa.memory_map(str(file.path)) as source:
        for batch in _opened(source):
            yield from (batch.slice(start, _BATCH_ROWS) for start in range(0, len(batch), _BATCH_ROWS))


def _opened(source: pa.NativeFile) -> Any:
    """A stream of batches, as `datasets` saves them, or a file of them."""
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        source.seek(0)
        found = pa.ipc.open_file(source)
        return (found.get_batch(number) for number in range(found.num_record_batches))
