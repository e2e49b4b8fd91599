"""Chatbot Arena: two answers of two models, and a vote.

https://huggingface.co/datasets/lmsys/chatbot_arena_conversations, MT-Bench's human judgments in the same fields, and
the table of https://www.kaggle.com/c/lmsys-chatbot-arena
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import Messages, messages_of, turns_of
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, Row, each_row, seen
from data_store.reading.source_files import Record
from data_store.reading.words import word

_WINNERS = ("model_a", "model_b", "tie", "tie (bothbad)")
_FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`conversation_a`, `conversation_b` and `winner`, or lists of turns with a flag for each way it can end. The last
    answers are compared; the turns before them must be the same."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    if "winner" in record.fields:
        winner = word(record, "winner", _WINNERS)
        sides = [messages_of(record, f"conversation_{side}") for side in "ab"]
    else:
        winner = _flagged(record)
        opened = Record(record.where, record.source, {name: _listed(value) for name, value in record.fields.items()})
        sides = [_woven(opened, f"response_{side}") for side in "ab"]
    if winner.startswith("tie"):
        raise RefusedRowError("tie", winner)
    for side, messages in zip("ab", sides, strict=True):
        if messages[-1]["role"] != "assistant":
            raise RefusedRowError("last_turn_not_assistant", f"the conversation of model {side}")
    (*prompt, a), (*other, b) = sides
    if prompt != other:
        raise RefusedRowError("prompts_differ", "the turns before the last answer are not the same")
    judge = record.fields.get("judge")
    who = {"annotator": f"chatbot_arena:{judge}"} if isinstance(judge, str) and judge else {}
    return seen(prompt, a["content"], b["content"], winner[-1], **who)


def _flagged(record: Record) -> str:
    """The winner, by the one flag that is set."""
    flags = [str(record.fields.get(name)).strip() for name in _FLAGS]
    if sorted(flags) != ["0", "0", "1"]:
        raise InputError(f"{record.where}: of {', '.join(_FLAGS)} one must be 1 and the others 0, not {flags}")
    return _FLAGS[flags.index("1")].removeprefix("winner_")


def _listed(value: Any) -> Any:
    """A list that stands in a cell of a table as JSON."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _woven(record: Record, field: str) -> Messages:
    """Questions and answers by turns."""
    asked, answered = (turns_of(record, name) for name in ("prompt", field))
    if len(asked) != len(answered):
        raise InputError(f"{record.where}: there are {len(asked)} prompts, and {len(answered)} texts in {field!r}")
    pairs = zip(asked, answered, strict=True)
    return [
        {"role": role, "content": turn["content"]}
        for pair in pairs
        for role, turn in zip(("user", "assistant"), pair, strict=True)
    ]


CHATBOT_ARENA = PreferenceFormat(
    "chatbot_arena",
    "Chatbot Arena: two conversations, or lists of turns, and a vote",
    read,
    lambda fields: (
        {"conversation_a", "conversation_b", "winner"} <= set(fields)
        or {"prompt", "response_a", "response_b", *_FLAGS} <= set(fields)
    ),
)
