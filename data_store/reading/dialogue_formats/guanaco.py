"""Guanaco: a dialogue in one text, with `### Human:` and `### Assistant:` before the turns.

https://huggingface.co/datasets/timdettmers/openassistant-guanaco
"""

import re
from collections.abc import Iterable

from data_store.errors import InputError
from data_store.reading.dialogue_formats.format import DialogueFormat, Fields, Names
from data_store.reading.messages import Messages
from data_store.reading.source_files import Record

_TURN = re.compile(r"### ?(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def _recognises(fields: Fields, _: Names) -> bool:
    return isinstance(fields.get("text"), str) and _TURN.match(fields["text"].lstrip()) is not None


def _read(record: Record, _: Names) -> Iterable[Messages]:
    before, *turns = _TURN.split(record.text("text"))
    if before.strip() or not turns:
        raise InputError(f"{record.where}: field 'text' must start with '### Human:'")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return [[{"role": _ROLES[speaker], "content": content.strip()} for speaker, content in pairs]]


GUANACO = DialogueFormat("guanaco", "Guanaco: a `text` with ### Human: and ### Assistant:", _recognises, _read)
