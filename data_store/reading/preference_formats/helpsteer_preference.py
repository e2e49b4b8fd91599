"""HelpSteer2-preference and HelpSteer3: two answers, and a strength from -3 (the first) to 3 (the second).

https://huggingface.co/datasets/nvidia/HelpSteer2 and https://huggingface.co/datasets/nvidia/HelpSteer3
"""

from collections.abc import Iterator, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.helpsteer import turns
from data_store.reading.preference_formats.pairs import Found, Row, each_row, seen
from data_store.reading.source_files import Record

_RATINGS = {1: "slightly_better", 2: "better", 3: "significantly_better"}
_SHAPES = (
    ("prompt", "response_1", "response_2", "preference_strength"),
    ("context", "response1", "response2", "overall_preference"),
)


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`prompt`, `response_1`, `response_2` and `preference_strength`; or `context`, `response1`, `response2` and
    `overall_preference`."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    prompt, first, second, strength = next((each for each in _SHAPES if each[-1] in record.fields), _SHAPES[0])
    given = record.value(strength)
    try:
        value = int(str(given))
    except ValueError:
        value = 9
    if abs(value) > max(_RATINGS):
        raise InputError(f"{record.where}: field {strength!r} is {given!r}; give a whole number from -3 to 3")
    if value == 0:
        raise RefusedRowError("tie", f"{strength} is 0")
    messages = turns(record.text(prompt)) if isinstance(record.fields.get(prompt), str) else prompt_in(record, prompt)
    answers = (record.text(first).strip(), record.text(second).strip())
    return seen(messages, *answers, "a" if value < 0 else "b", rating=_RATINGS[abs(value)])


HELPSTEER_PREFERENCE = PreferenceFormat(
    "helpsteer_preference",
    "HelpSteer2-preference and HelpSteer3: two answers and a strength from -3 to 3",
    read,
    lambda fields: any(set(shape) <= set(fields) for shape in _SHAPES),
)
