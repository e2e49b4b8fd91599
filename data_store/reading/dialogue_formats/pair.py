"""A prompt and a response, under the names that the config gives."""

from collections.abc import Iterable

from data_store.reading.dialogue_formats.format import DialogueFormat, Names
from data_store.reading.messages import Messages, answer_in, prompt_in
from data_store.reading.source_files import Record


def _read(record: Record, names: Names) -> Iterable[Messages]:
    prompt = prompt_in(record, names.prompt)
    answer = answer_in(record, names.response, record.value(names.response))
    return [[*prompt, {"role": "assistant", "content": answer}]]


PAIR = DialogueFormat(
    "pair",
    "`prompt_field` and `response_field`",
    lambda fields, names: {names.prompt, names.response} <= set(fields),
    _read,
)
