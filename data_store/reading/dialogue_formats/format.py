"""What a format of dialogues is. Each is a file of this folder; data_store/reading/dialogue_formats/registry.py names
them all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from data_store.reading.messages import Messages
from data_store.reading.source_files import Record

Fields = Mapping[str, Any]


class Names(NamedTuple):
    """What the fields of a dialogue given as a pair are called."""

    prompt: str = "prompt"
    response: str = "response"


@dataclass(frozen=True)
class DialogueFormat:
    """A format under its name in configs.

    `recognises` tells from a record's fields whether it is of this format, where none before it does. `read` gives the
    dialogues of a record, without what `data_store.reading.messages.with_context` reads beside them. Where a record
    holds several, each has its number behind the source.
    """

    name: str
    about: str
    recognises: Callable[[Fields, Names], bool]
    read: Callable[[Record, Names], Iterable[Messages]]


def pair(record: Record, question: str, answer: str, more: str | None = None) -> Messages:
    """A question and its answer; `more` is a field with a second paragraph of the question."""
    asked = record.text(question).strip()
    extra = record.text(more).strip() if more is not None and record.fields.get(more) is not None else ""
    return [
        {"role": "user", "content": f"{asked}\n\n{extra}" if extra else asked},
        {"role": "assistant", "content": record.text(answer).strip()},
    ]
