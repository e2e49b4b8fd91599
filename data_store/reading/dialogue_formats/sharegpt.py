"""ShareGPT: `conversations` of from and value, or of texts by turns; also under the name `conversation`.

https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html
"""

from collections.abc import Iterable

from data_store.reading.dialogue_formats.format import DialogueFormat, Fields, Names
from data_store.reading.messages import Messages, messages_of
from data_store.reading.source_files import Record

_FIELDS = ("conversations", "conversation")


def _recognises(fields: Fields, _: Names) -> bool:
    found = next((fields[name] for name in _FIELDS if name in fields), None)
    turns = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return any(not {"from", "role"}.isdisjoint(each) for each in turns)


def _read(record: Record, _: Names) -> Iterable[Messages]:
    return [messages_of(record, next((name for name in _FIELDS if name in record.fields), _FIELDS[0]))]


SHAREGPT = DialogueFormat("sharegpt", "ShareGPT: `conversations` of from and value", _recognises, _read)
