"""Pairs in Halter's own words, one a line."""

from collections.abc import Iterable, Iterator

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options
from data_store.reading.preference_formats.pairs import WORDS, Found, Row, each_row, placed, said, word
from data_store.reading.row_import import Messages, RefusedRowError, messages_of
from data_store.reading.source_files import Record

_FIELDS = ("prompt", "messages", "response_a", "response_b", "chosen", "rejected", *WORDS)


def read(records: Iterable[Record], _: Options) -> Iterator[Found]:
    """`prompt` or `messages`; `response_a`, `response_b` and `chosen` = a | b, or two texts `chosen` and `rejected`."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    unknown = sorted(set(record.fields) - set(_FIELDS))
    if unknown:
        raise InputError(
            f"{record.where}: unknown field {unknown[0]!r}; rename or remove it. Known are {', '.join(_FIELDS)}"
        )
    return {**said(record), "messages": _messages(record), **_responses(record)}


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


def _responses(record: Record) -> Row:
    if "response_a" in record.fields:
        first, second, named = "response_a", "response_b", True
    else:
        first, second, named = "chosen", "rejected", False
    texts = {field: record.text(field) for field in (first, second)}
    for field, text in texts.items():
        if not text.strip():
            raise RefusedRowError("empty_answer", f"field {field}")
    if not named:
        return placed(record.source, texts[first], texts[second])
    return {"response_a": texts[first], "response_b": texts[second], "chosen": word(record, "chosen", ("a", "b"))}


ROWS = PreferenceFormat(
    "rows",
    "pairs in Halter's own words",
    read,
    lambda fields: (
        "response_a" in fields
        or ({"chosen", "rejected"} <= set(fields) and not {"prompt", "messages"}.isdisjoint(fields))
    ),
)
