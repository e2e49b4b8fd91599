"""Records out of the user's files, each knowing its file and line, so that an error can name them.

Read are .jsonl, .csv, .txt and .parquet, line by line or batch by batch, so that memory stays bounded; .json is read
whole.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from data_store.errors import InputError

_LARGEST_CSV_FIELD = 2**31 - 1  # whole documents stand in one field; the default limit is 131,072 characters
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class SourceFile:
    """A file and the name it gets in ids and in the field `source`: never a path of this machine."""

    path: Path
    name: str

    @property
    def format(self) -> str:
        """The file's ending without .gz: jsonl, csv, txt or parquet."""
        return "".join(Path(self.path.name.removesuffix(".gz")).suffixes[-1:]).removeprefix(".")


@dataclass(frozen=True)
class Record:
    """One line's or one row's fields. `where` is for error messages, `source` for the store."""

    where: str
    source: str
    fields: dict[str, Any]

    def text(self, field: str) -> str:
        """The text in `field`; raises InputError where it is missing or no text."""
        if field not in self.fields:
            raise InputError(f"{self.where}: there is no field {field!r}; the fields are {_listed(self.fields)}")
        return self.check_text(field, self.fields[field])

    def check_text(self, field: str, value: Any) -> str:
        """`value` if it is text that can be stored; raises InputError naming `field` otherwise."""
        if not isinstance(value, str):
            raise InputError(f"{self.where}: field {field!r} must be text, not {_kind(value)}; fix or remove the row")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{self.where}: field {field!r} holds half a character (a lone surrogate) at position "
                    f"{error.start}; fix or remove the row"
                ) from None
        return value


def source_files(paths: Sequence[Path]) -> list[SourceFile]:
    """The files with the shortest names that tell them apart; raises InputError for no, a missing or a double file."""
    if not paths:
        raise InputError("no file is given; name at least one")
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the files in it")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) != len(resolved):
        twice = next(path for path in resolved if resolved.count(path) > 1)
        raise InputError(f"{twice} is given twice; name each file once")
    depth = 1
    names = [path.name for path in resolved]
    while len(set(names)) != len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in resolved]
    return [SourceFile(path, name) for path, name in zip(paths, names, strict=True)]


def read_lines(file: SourceFile) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end); raises InputError where the file is not UTF-8 or cannot be read."""
    number = 0
    try:
        with _open(file.path) as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.removeprefix(_UTF8_MARK) if number == 1 else raw
                try:
                    yield number, line.decode().rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{file.path} line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position "
                        f"{error.start}); convert the file to UTF-8"
                    ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file.path}: cannot be read after line {number}: {error}") from None


def read_records(file: SourceFile) -> Iterator[Record]:
    """The records of a .jsonl, .json (one list of objects) or .csv file, each also with .gz; empty lines are passed
    over. A .json file is read whole; the source of its records is FILE:LINE#N, because they may share a line."""
    if file.format == "jsonl":
        return _json_records(file)
    if file.format == "json":
        return _listed_records(file)
    if file.format == "csv":
        return _csv_records(file)
    raise InputError(f"{file.path}: cannot read this kind of file here; use .jsonl, .jsonl.gz, .json or .csv")


def read_paragraphs(file: SourceFile) -> Iterator[tuple[int, str]]:
    """(line number of its start, text) of each run of lines between blank lines."""
    start, lines = 0, list[str]()
    for number, line in read_lines(file):
        if line.strip():
            start = start if lines else number
            lines.append(line)
        elif lines:
            yield start, "\n".join(lines)
            lines = []
    if lines:
        yield start, "\n".join(lines)


def read_parquet_column(file: SourceFile, column: str, batch_rows: int) -> Iterator[tuple[int, list[str]]]:
    """(row number from 0 of the first, texts) of one text column, batch by batch."""
    row = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            if column not in parquet.schema_arrow.names:
                listed = ", ".join(parquet.schema_arrow.names)
                raise InputError(f"{file.path}: there is no column {column!r}; the columns are {listed}")
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


def _json_records(file: SourceFile) -> Iterator[Record]:
    for number, line in read_lines(file):
        if not line.strip():
            continue
        where = f"{file.path} line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({error}); fix or remove the line") from None
        if not isinstance(fields, dict):
            raise InputError(f"{where}: a JSON object is wanted, not {_kind(fields)}; fix or remove the line")
        yield Record(where, f"{file.name}:{number}", fields)


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
                "wanted, such as [{…}, {…}]; for one object a line name the file .jsonl"
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
            raise InputError(f"{where}: a JSON object is wanted, not {_kind(fields)}; fix or remove the record")
        yield Record(where, f"{file.name}:{line}#{number}", fields)
        line += text.count("\n", place, end)
        place, number = end, number + 1
        following = skip(r"(?:,(?!\s*\])|(?=\]))")


def _csv_records(file: SourceFile) -> Iterator[Record]:
    csv.field_size_limit(_LARGEST_CSV_FIELD)
    reader = csv.reader((f"{line}\n" for _, line in read_lines(file)), strict=True)
    start = 1
    try:
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise InputError(f"{file.path} line 1: a column's name comes twice in {_listed(header)}; rename one")
        start = reader.line_num + 1
        for row in reader:
            where = f"{file.path} line {start}"
            if row and len(row) != len(header):
                raise InputError(
                    f"{where}: {len(row)} fields, but the header has {len(header)} ({_listed(header)}); "
                    "fix the line, and put fields that hold commas in double quotes"
                )
            if row:
                yield Record(where, f"{file.name}:{start}", dict(zip(header, row, strict=True)))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{file.path} line {start}: not CSV ({error}); fix the line") from None


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"


def _kind(value: Any) -> str:
    words = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else words.get(type(value), "text")
