"""A list of texts, the user's first: LIMA's `conversations` and UltraChat's `data`.

https://huggingface.co/datasets/GAIR/lima and https://github.com/thunlp/UltraChat
"""

from collections.abc import Iterable

from data_store.reading.dialogue_formats.format import DialogueFormat, Fields, Names
from data_store.reading.messages import Messages, turns_of
from data_store.reading.source_files import Record

_FIELDS = ("conversations", "conversation", "data")


def _recognises(fields: Fields, _: Names) -> bool:
    return any(
        isinstance(fields.get(name), list) and fields[name] and isinstance(fields[name][0], str) for name in _FIELDS
    )


def _read(record: Record, _: Names) -> Iterable[Messages]:
    return [turns_of(record, next((name for name in _FIELDS if name in record.fields), _FIELDS[0]))]


TURNS = DialogueFormat("turns", "Texts by turns: LIMA's `conversations`, UltraChat's `data`", _recognises, _read)
