"""OpenAssistant message trees: the ranked replies to one message become pairs.

https://projects.laion.ai/Open-Assistant/docs/data/schemas
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from data_store.errors import InputError
from data_store.reading.bad_rows import Refusal, RefusedRowError
from data_store.reading.messages import Messages
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.options import RankOptions
from data_store.reading.preference_formats.pairs import Found, attempt, judged
from data_store.reading.source_files import Record

_ROLES = {"prompter": "user", "assistant": "assistant"}
_FINISHED = "ready_for_export"


class OasstOptions(RankOptions):
    """Which messages may be in a pair."""

    languages: tuple[str, ...] = Field(default=(), description="oasst: languages to keep, such as en; empty: all")
    synthetic: Literal["refuse", "keep"] = Field(default="refuse", description="oasst: messages that a model wrote")
    unreviewed: Literal["refuse", "keep"] = Field(default="refuse", description="oasst: messages without a review")


@dataclass(frozen=True)
class _Message:
    """One message of a tree. `fault` is the reason for which no pair may hold it."""

    role: str
    text: str
    rank: int | None
    fault: str | None
    replies: list[Any]
    name: str


def read(records: Sequence[Record], options: OasstOptions) -> Iterator[Found]:
    """Every two replies of the assistant to one message; the one with the lower rank is the better."""
    for record in records:
        state = record.fields.get("tree_state", _FINISHED)
        if state != _FINISHED:
            yield Refusal(record.source, "tree_not_finished", f"its state is {state}")
            continue
        pairs = list(_pairs(record, options))
        yield from pairs or [Refusal(record.source, "no_pair", "no message has two replies")]


def _pairs(record: Record, options: OasstOptions) -> Iterator[Found]:
    number = 0
    waiting: list[tuple[_Message, Messages, str | None]] = [
        (_message(record, record.fields.get("prompt"), "prompt", options), [], None)
    ]
    while waiting:
        message, before, fault = waiting.pop()
        dialogue = [*before, {"role": message.role, "content": message.text.strip()}]
        fault = fault or message.fault
        replies = [
            _message(record, reply, f"{message.name}.replies[{place}]", options)
            for place, reply in enumerate(message.replies)
        ]
        if message.role == "user":
            answers = [reply for reply in replies if reply.role == "assistant"]
            for first, second in combinations(answers, 2):
                yield attempt(
                    source := f"{record.source}#{number}", _pair, source, dialogue, fault, first, second, options
                )
                number += 1
        waiting += [(reply, dialogue, fault) for reply in reversed(replies)]


def _pair(
    source: str,
    dialogue: Messages,
    fault: str | None,
    first: _Message,
    second: _Message,
    options: OasstOptions,
) -> dict[str, Any]:
    where = f"{first.name} and {second.name}"
    reason = fault or first.fault or second.fault
    if reason is not None:
        raise RefusedRowError(reason, where)
    if first.rank is None or second.rank is None:
        raise RefusedRowError("no_rank", where)
    if first.rank == second.rank:
        raise RefusedRowError("tie", f"{where} have rank {first.rank}")
    better, worse = (first, second) if first.rank < second.rank else (second, first)
    rating = options.rank_gaps.word(abs(first.rank - second.rank))
    return judged(source, dialogue, better.text.strip(), worse.text.strip(), rating=rating)


def _message(record: Record, value: Any, name: str, options: OasstOptions) -> _Message:
    if not isinstance(value, Mapping):
        raise InputError(f"{record.where}: field {name!r} must be a message with text, role and replies")
    for field in ("text", "role", "lang"):
        if field not in value:
            raise InputError(f"{record.where}: there is no field '{name}.{field}'")
        record.check_text(f"{name}.{field}", value[field])
    role, rank, replies = value["role"], value.get("rank"), value.get("replies", [])
    if role not in _ROLES:
        raise InputError(f"{record.where}: field '{name}.role' is {role!r}; use one of {', '.join(_ROLES)}")
    if isinstance(rank, float):  # a table of many messages has no whole numbers beside empty ones
        rank = None if math.isnan(rank) else int(rank) if rank.is_integer() else rank
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool)):
        raise InputError(f"{record.where}: field '{name}.rank' is {rank!r}; give a whole number, the best is 0")
    if not isinstance(replies, list):
        raise InputError(f"{record.where}: field '{name}.replies' must be a list of messages")
    flags = {}
    for field in ("deleted", "synthetic", "review_result"):
        flags[field] = value.get(field)
        if flags[field] not in (True, False, None):
            raise InputError(f"{record.where}: field '{name}.{field}' is {flags[field]!r}; use true, false or null")
    return _Message(_ROLES[role], value["text"], rank, _fault(flags, value["lang"], options), replies, name)


def _fault(flags: Mapping[str, bool | None], language: str, options: OasstOptions) -> str | None:
    if flags["deleted"]:
        return "deleted"
    if flags["review_result"] is False:
        return "failed_review"
    if flags["review_result"] is None and options.unreviewed == "refuse":
        return "not_reviewed"
    if flags["synthetic"] and options.synthetic == "refuse":
        return "synthetic"
    if options.languages and language not in options.languages:
        return "other_language"
    return None


OASST = PreferenceFormat(
    "oasst",
    "OpenAssistant message trees with ranked replies",
    read,
    lambda fields: isinstance(fields.get("prompt"), dict) and "text" in fields["prompt"],
)
