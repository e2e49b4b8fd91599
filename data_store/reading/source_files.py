"""The user's files, by names that tell them apart, and what one of their records is.

Each record knows its file and line, so that an error can name them. data_store/reading/containers.py reads them.
"""

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading.file_options import AS_SAID, FileOptions, OfFiles

PACKED = (".gz", ".zst")
_HELD = {bytes: "bytes", bool: "true or false", int: "a number", float: "a number", str: "text"}
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class SourceFile:
    """A file and the name it gets in ids and in the field `source`: never a path of this machine. `options`: how it is
    read."""

    path: Path
    name: str
    options: FileOptions = AS_SAID

    @property
    def format(self) -> str:
        """The file's ending without .gz or .zst: jsonl, json, csv, tsv, txt, parquet or arrow."""
        name = self.path.name.removesuffix(self.path.suffix) if self.path.suffix in PACKED else self.path.name
        return Path(name).suffix.removeprefix(".").lower()


@dataclass(frozen=True)
class Record:
    """One line's or one row's fields. `where` is for error messages, `source` for the store. `empty`: columns of its
    file in which it has nothing."""

    where: str
    source: str
    fields: dict[str, Any]
    empty: tuple[str, ...] = ()

    def value(self, field: str) -> Any:
        """What stands in `field`; raises InputError where it is missing."""
        if field in self.empty:
            raise InputError(f"{self.where}: field {field!r} is empty; fill or remove the row")
        if field not in self.fields:
            raise InputError(f"{self.where}: there is no field {field!r}; the fields are {listed(self.fields)}")
        return self.fields[field]

    def text(self, field: str) -> str:
        """The text in `field`; raises InputError where it is missing or no text."""
        return self.check_text(field, self.value(field))

    def check_text(self, field: str, value: Any) -> str:
        """`value` if it is text that can be stored; raises InputError naming `field` otherwise."""
        if not isinstance(value, str):
            raise InputError(f"{self.where}: field {field!r} must be text, not {kind_of(value)}; fix or remove the row")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{self.where}: field {field!r} holds half a character (a lone surrogate) at position "
                    f"{error.start}; fix or remove the row"
                ) from None
        return value


def source_files(paths: Sequence[Path], options: OfFiles | None = None) -> list[SourceFile]:
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
    said = options or {}
    names = zip(paths, told_apart(resolved), strict=True)
    return [SourceFile(path, name, said.get(path, AS_SAID)) for path, name in names]


def told_apart(resolved: Sequence[Path]) -> list[str]:
    """The shortest ends of different paths that tell them apart."""
    depth = 1
    names = [path.name for path in resolved]
    while len(set(names)) != len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in resolved]
    return names


def read_lines(file: SourceFile) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end); raises InputError where the file is not UTF-8 or cannot be read."""
    number = 0
    try:
        with file.path.open("rb") as packed, unpacked(packed, file.path) as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.removeprefix(_UTF8_MARK) if number == 1 else raw
                try:
                    yield number, line.decode().rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{file.path} line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position "
                        f"{error.start}); convert the file to UTF-8"
                    ) from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{file.path}: cannot be read after line {number}: {error}") from None


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


def listed(names: Any) -> str:
    """Names for a message."""
    return ", ".join(map(str, names)) or "none"


def kind_of(value: Any) -> str:
    """What a value is, for a message."""
    if isinstance(value, Mapping):
        return "an object"
    return "null" if value is None else "a list" if isinstance(value, list) else _HELD.get(type(value), "no text")


def unpacked(file: BinaryIO, path: Path) -> BinaryIO:
    """The bytes of a file that may be packed, as its ending says."""
    if path.suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(file, "zstd")))
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
