"""Pairs in Halter's own words, one a line."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import Messages, messages_of
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import WORDS, Found, Row, each_row, said
from data_store.reading.source_files import Record
from data_store.reading.words import word

_ALIKE = 0.8  # a column that is nearly called as a word is a slip of the pen
_FIELDS = frozenset({"prompt", "messages", "response_a", "response_b", "chosen", *WORDS})


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`prompt` or `messages`; `response_a`, `response_b` and `chosen` = a | b. Other columns are not read, but one
    whose name is nearly that of a word is taken for a slip."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    for name in sorted(record.fields.keys() - _FIELDS):
        if near := difflib.get_close_matches(name, _FIELDS - record.fields.keys(), n=1, cutoff=_ALIKE):
            raise InputError(f"{record.where}: unknown field {name!r}; is it {near[0]!r}? Rename or remove it")
    texts = {field: record.text(field) for field in ("response_a", "response_b")}
    for field, text in texts.items():
        if not text.strip():
            raise RefusedRowError("empty_answer", f"field {field}")
    chosen = word(record, "chosen", ("a", "b"))
    return {**said(record, own=True), "messages": _messages(record), **texts, "chosen": chosen}


def _messages(record: Record) -> Messages:
    if record.fields.get("messages") not in (None, ""):  # an empty CSV field is one that is not given
        messages = messages_of(record)
        if messages[-1]["role"] != "user":
            raise RefusedRowError("last_turn_not_user", f"the last turn is the {messages[-1]['role']}'s")
    else:
        messages = [{"role": "user", "content": record.text("prompt").strip()}]
    for number, message in enumerate(messages):
        if not message["content"].strip():
            raise RefusedRowError("empty_message", f"message {number} of the {message['role']}")
    return messages


ROWS = PreferenceFormat(
    "rows",
    "pairs in Halter's own words",
    read,
    lambda fields: {"response_a", "response_b", "chosen"} <= set(fields),
)
