"""Preference fine-tuning files of OpenAI and Together: a request, a preferred output and another one.

https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.messages import answer_in, messages_in, with_context
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, Row, each_row, judged
from data_store.reading.source_files import Record

_OUTPUTS = ("preferred_output", "non_preferred_output")


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`input.messages`, `preferred_output` and `non_preferred_output`."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    asked = record.value("input")
    if not isinstance(asked, Mapping):
        raise InputError(f"{record.where}: field 'input' must be an object with messages")
    request = Record(f"{record.where} input", record.source, dict(asked))
    prompt = with_context(request, messages_in(request, "messages", asked.get("messages")))
    better, worse = (answer_in(record, name, record.value(name)) for name in _OUTPUTS)
    return judged(record.source, prompt, better, worse)


OPENAI_DPO = PreferenceFormat(
    "openai_dpo",
    "OpenAI's and Together's files for DPO",
    read,
    lambda fields: {"input", *_OUTPUTS} <= set(fields),
)
