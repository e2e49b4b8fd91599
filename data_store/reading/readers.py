"""Reading the user's files into rows: documents, prompts, dialogues, instructions, preferences.

Broken input (no JSON, a missing field, an unknown word) stops with InputError naming file, line and field. Rows that
are well-formed but of no use (an empty answer) are refused by name and counted, never dropped silently.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading.bad_rows import BadRows, RefusedRowError
from data_store.reading.containers import KINDS, read_parquet_column, read_records
from data_store.reading.dialogue_readers import read_dialogues
from data_store.reading.file_options import OfFiles
from data_store.reading.instruction_checks import read_check
from data_store.reading.messages import Messages, prompt_of, with_context
from data_store.reading.preference_readers import read_preferences
from data_store.reading.row_import import Imported, import_rows, prompt_id_of
from data_store.reading.source_files import (
    Record,
    SourceFile,
    read_lines,
    read_paragraphs,
    source_files,
)
from data_store.reading.words import split_of as split_in
from data_store.rows import AXES, row_kind

__all__ = ["Imported", "read_dialogues", "read_documents", "read_instructions", "read_preferences", "read_prompts"]

_BATCH_ROWS = 1024
_BATCH_CHARACTERS = 8 << 20
_MOST_CATEGORIES, _LONGEST_CATEGORY = 64, 80


def read_documents(
    paths: Sequence[Path],
    text_field: str = "text",
    txt: str = "paragraphs",
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of kind document, of bounded size, from .jsonl, .json, .csv, .tsv, .parquet, .arrow and .txt files.

    Args:
        paths: the files, in the order in which their documents come.
        text_field: the JSON field, CSV or Parquet column that holds the text.
        txt: how a .txt file is cut: "paragraphs" (runs of lines between blank lines, one document each) or "file" (one
            document).

    Yields:
        Batches of at most 1,024 rows. doc_id and source are both "FILE:LINE" ("FILE:ROW", from 0, for Parquet).

    Raises:
        InputError: at once for wrong arguments and missing files; while reading for a broken line, a missing field, a
            value that is no text, bytes that are not UTF-8; at the end if there was no document at all.
    """
    if txt not in ("paragraphs", "file"):
        raise InputError(f"txt is {txt!r}; use paragraphs or file")
    files = source_files(paths, of_files)
    for file in files:
        if file.format not in (*KINDS, "txt"):
            raise InputError(f"{file.path}: unknown kind of file; use .{', .'.join((*KINDS, 'txt'))}")
    return _document_batches(files, text_field, txt, bad or BadRows())


def read_prompts(
    paths: Sequence[Path],
    text_field: str = "prompt",
    axis: str = "helpfulness",
    kind: str = "import",
    split_of: Callable[[Messages], str] = lambda _: "train",
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
    category_fields: Sequence[str] = (),
    harmless: bool = False,
) -> Imported:
    """Rows of kind prompt from .jsonl, .json, .csv, .tsv, .parquet, .arrow and .txt (one prompt per line).

    A record has `messages` (roles and contents, the user's turn last), `text_field` (text, messages, or an object with
    a text), or one of `instruction` (with `input`), `question` and `goal`; of a whole `conversation` the prompt is its
    beginning up to the first answer. Its own fields `axis`, `kind` and `split` go before the arguments; a split may be
    in the words of the hub. `split_of` tells the split of messages of which the file says none. Its category is in the
    first of `category_fields` that it has. `harmless`: what the file labels unsafe is refused. prompt_id is a hash of
    the messages, so the same prompt has the same id in every file, also in preferences.

    Refused by name: empty_prompt, duplicate_prompt, last_turn_not_user, other_axis, unsafe_prompt, and what
    `messages_of` refuses.

    Raises:
        InputError: as `read_documents`; an unknown role; more than 64 categories; nothing left after refusals.
    """
    _check_word("axis", axis, AXES)
    seen: dict[str, str] = {}
    categories: set[str | None] = set()

    def prompt(record: Record) -> dict[str, Any]:
        words = {"axis": axis, "kind": kind, "split": split_in(record) or ""}
        if record.fields.get("axis") not in (None, "", *AXES):
            raise RefusedRowError("other_axis", str(record.fields["axis"])[:40])
        words["axis"] = record.fields.get("axis") or axis
        if isinstance(said := record.fields.get("kind"), str | int) and said != "":
            words["kind"] = str(said) if isinstance(said, int) else record.text("kind")
        messages = with_context(record, prompt_of(record, text_field))
        if messages[-1]["role"] != "user":
            raise RefusedRowError("last_turn_not_user", f"the last turn is the {messages[-1]['role']}'s")
        if not messages[-1]["content"].strip():
            raise RefusedRowError("empty_prompt", "")
        if harmless and record.fields.get("label") == "unsafe":
            raise RefusedRowError("unsafe_prompt", "labelled unsafe: to refuse it is right")
        prompt_id = prompt_id_of(messages)
        if prompt_id in seen:
            raise RefusedRowError("duplicate_prompt", f"the same as {seen[prompt_id]}")
        seen[prompt_id] = record.source
        words["split"] = words["split"] or split_of(messages)
        category = _category(record, category_fields)
        categories.add(category)
        if len(categories) > _MOST_CATEGORIES:
            raise InputError(
                f"{record.where}: more than {_MOST_CATEGORIES} categories of prompts, {category!r} is one: name a "
                "field that groups them in data.category_fields"
            )
        return {"prompt_id": prompt_id, "source": record.source, **words, "category": category, "messages": messages}

    return import_rows(_text_or_records(paths, text_field, bad, of_files), prompt, "prompt", bad)


def read_instructions(
    paths: Sequence[Path],
    split_of: Callable[[Messages], str] = lambda _: "train",
    bad: BadRows | None = None,
    of_files: OfFiles | None = None,
) -> Imported:
    """Rows of kind instruction from the same kinds of files (in .txt one instruction per line).

    An instruction holds for every answer of a dialogue, such as "Always answer in rhymes.". A record has `text`. Its
    `short` form is what Ghost Attention learns in a share of the dialogues ("Rhymes."), the text itself where there is
    none. Its `kind` names what cannot be combined with its like ("language"). Its `split` is train or heldout, or what
    `split_of` says of the text as a user's message. Its `check` tells of an answer whether it keeps the instruction
    (`InstructionCheck`): an object, in a CSV as JSON. instruction_id is a hash of the text.

    Refused by name: empty_instruction, duplicate_instruction.

    Raises:
        InputError: as `read_documents`; nothing left after refusals.
    """
    seen: dict[str, str] = {}

    def instruction(record: Record) -> dict[str, Any]:
        text = record.text("text").strip()
        if not text:
            raise RefusedRowError("empty_instruction", "")
        messages = [{"role": "user", "content": text}]
        identity = prompt_id_of(messages).replace("prompt", "instruction")
        if identity in seen:
            raise RefusedRowError("duplicate_instruction", f"the same as {seen[identity]}")
        seen[identity] = record.source
        said = {
            name: record.text(name).strip() if record.fields.get(name) not in (None, "") else ""
            for name in ("short", "kind")
        }
        split = split_in(record)
        return {
            "instruction_id": identity,
            "source": record.source,
            "text": text,
            "short": said["short"] or text,
            "kind": said["kind"] or "import",
            "split": "heldout" if split == "validation" else split or split_of(messages),
            "check": _check(record),
        }

    return import_rows(_text_or_records(paths, "text", bad, of_files), instruction, "instruction", bad)


def _document_batches(files: list[SourceFile], text_field: str, txt: str, bad: BadRows) -> Iterator[pa.RecordBatch]:
    schema = row_kind("document").schema
    sources, texts, characters, written = list[str](), list[str](), 0, 0

    def batch() -> pa.RecordBatch:
        return pa.record_batch([pa.array(sources), pa.array(sources), pa.array(texts)], schema=schema)

    for file in files:
        for source, text in _documents(file, file.options.text_field or text_field, txt, bad):
            if texts and (len(texts) == _BATCH_ROWS or characters + len(text) > _BATCH_CHARACTERS):
                yield batch()
                sources, texts, characters = [], [], 0
            sources.append(source)
            texts.append(text)
            characters += len(text)
            written += 1
    if not written:
        raise InputError(f"there is no document in {', '.join(str(file.path) for file in files)}")
    yield batch()


def _documents(file: SourceFile, text_field: str, txt: str, bad: BadRows) -> Iterator[tuple[str, str]]:
    if file.format == "parquet" and not bad.drop and bad.most is None:  # one column alone
        for start, texts in read_parquet_column(file, text_field, _BATCH_ROWS):
            yield from ((f"{file.name}:{row}", text) for row, text in enumerate(texts, start))
    elif file.format == "txt" and txt == "file":
        text = "\n".join(line for _, line in read_lines(file))
        if text.strip():
            yield f"{file.name}:1", text
    elif file.format == "txt":
        yield from ((f"{file.name}:{number}", text) for number, text in read_paragraphs(file))
    else:
        for record in read_records(file, bad):
            try:
                yield record.source, record.text(text_field)
            except InputError as error:
                bad.meet(error, record.source)


def _check(record: Record) -> str | None:
    """How an instruction is checked, as JSON; None where the record does not say."""
    given = record.fields.get("check")
    if given in (None, ""):
        return None
    check = read_check(given if isinstance(given, str) else json.dumps(given), record.where)
    return check.model_dump_json(exclude_defaults=True)


def _category(record: Record, fields: Sequence[str]) -> str | None:
    """What a record says in the first of these fields that it has."""
    given = next((name for name in fields if record.fields.get(name) not in (None, "")), None)
    return None if given is None else " ".join(record.text(given).split())[:_LONGEST_CATEGORY] or None


def _text_or_records(
    paths: Sequence[Path], text_field: str, bad: BadRows | None, of_files: OfFiles | None
) -> Iterator[Record]:
    """The records of the files, each with its text under `text_field`, whatever the file's own options call it."""
    for file in source_files(paths, of_files):
        said = file.options.prompt_field
        if file.format == "txt":
            told = {} if file.options.split is None else {"split": file.options.split}
            for number, line in read_lines(file):
                if line.strip():
                    yield Record(f"{file.path} line {number}", f"{file.name}:{number}", {text_field: line, **told})
            continue
        for record in read_records(file, bad):
            renamed = {} if said is None or said not in record.fields else {text_field: record.fields[said]}
            yield replace(record, fields={**record.fields, **renamed}) if renamed else record


def _check_word(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise InputError(f"{name} is {value!r}; use one of {', '.join(words)}")
