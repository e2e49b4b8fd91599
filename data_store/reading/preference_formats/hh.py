"""Anthropic HH: two whole dialogues in one text each, of which one was chosen."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import check_turns
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import Options
from data_store.reading.preference_formats.pairs import Found, Row, each_row, placed, transcript
from data_store.reading.source_files import Record

_TURN = re.compile(r"\n\n(Human|Assistant):")
_SPEAKERS = {"user": "Human", "assistant": "Assistant"}


def read(records: Sequence[Record], _: Options) -> Iterator[Found]:
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
    chosen, rejected = (transcript(record, field, record.text(field)) for field in ("chosen", "rejected"))
    for field, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
            raise RefusedRowError("empty_answer", f"the last answer of {field}")
        check_turns(messages)
    if chosen[:-1] != rejected[:-1]:
        raise RefusedRowError(
            "prompts_differ", "the turns before the last answer are not the same in chosen and rejected"
        )
    return {"messages": chosen[:-1], **placed(record.source, chosen[-1]["content"], rejected[-1]["content"])}


HH = PreferenceFormat(
    "hh",
    "Anthropic HH: two whole dialogues, `chosen` and `rejected`",
    read,
    lambda fields: {"chosen", "rejected"} <= set(fields),
    written,
)
