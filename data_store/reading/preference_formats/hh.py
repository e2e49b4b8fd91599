"""Anthropic HH: two whole dialogues in one text each, of which one was chosen."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options
from data_store.reading.preference_formats.pairs import Found, Row, each_row, placed
from data_store.reading.row_import import Messages, RefusedRowError, check_turns
from data_store.reading.source_files import Record

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_SPEAKERS = {role: speaker for speaker, role in _ROLES.items()}


def read(records: Iterable[Record], _: Options) -> Iterator[Found]:
    """`chosen` and `rejected`: their common turns are the prompt, their last answers the responses."""
    return each_row(records, _row)


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a line of HH. It cannot hold a system message, or a text with a turn's mark in it: RefusedRowError."""
    better, worse = ("a", "b") if row["chosen"] == "a" else ("b", "a")
    for message in row["messages"]:
        if message["role"] not in _SPEAKERS:
            raise RefusedRowError("system_message", "HH has turns of people and assistants alone")
    texts = [message["content"] for message in row["messages"]]
    if any(_TURN.search(text.strip()) for text in (*texts, row["response_a"], row["response_b"])):
        raise RefusedRowError("holds_a_turn_mark", "the text would be read as another turn")
    before = "".join(f"\n\n{_SPEAKERS[m['role']]}: {m['content'].strip()}" for m in row["messages"])
    answers = {"chosen": row[f"response_{better}"], "rejected": row[f"response_{worse}"]}
    return {name: f"{before}\n\nAssistant: {answer.strip()}" for name, answer in answers.items()}


def _row(record: Record) -> Row:
    chosen, rejected = (_dialogue(record, field) for field in ("chosen", "rejected"))
    for field, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
            raise RefusedRowError("empty_answer", f"the last answer of {field}")
        check_turns(messages)
    if chosen[:-1] != rejected[:-1]:
        raise RefusedRowError(
            "prompts_differ", "the turns before the last answer are not the same in chosen and rejected"
        )
    return {"messages": chosen[:-1], **placed(record.source, chosen[-1]["content"], rejected[-1]["content"])}


def _dialogue(record: Record, field: str) -> Messages:
    before, *turns = _TURN.split(record.text(field))
    if before.strip() or not turns:
        raise InputError(f"{record.where}: field {field!r} must start with an empty line and 'Human:'")
    return [
        {"role": _ROLES[speaker], "content": content.strip()}
        for speaker, content in zip(turns[::2], turns[1::2], strict=True)
    ]


HH = PreferenceFormat(
    "hh",
    "Anthropic HH: two whole dialogues, `chosen` and `rejected`",
    read,
    lambda fields: {"chosen", "rejected"} <= set(fields),
    written,
)
