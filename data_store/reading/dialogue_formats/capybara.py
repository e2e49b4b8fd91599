"""Capybara: a `conversation` of objects with input and output.

https://huggingface.co/datasets/LDJnr/Capybara
"""

from collections.abc import Iterable, Mapping

from data_store.errors import InputError
from data_store.reading.dialogue_formats.format import DialogueFormat, Fields, Names, pair
from data_store.reading.messages import Messages
from data_store.reading.source_files import Record


def _recognises(fields: Fields, _: Names) -> bool:
    turns = fields.get("conversation")
    return isinstance(turns, list) and any(isinstance(each, Mapping) and "input" in each for each in turns)


def _read(record: Record, _: Names) -> Iterable[Messages]:
    turns = record.fields.get("conversation")
    if not isinstance(turns, list) or not all(isinstance(each, Mapping) for each in turns):
        raise InputError(f"{record.where}: field 'conversation' must be a list of objects with input and output")
    named = [Record(f"{record.where} turn {n}", record.source, dict(each)) for n, each in enumerate(turns)]
    return [[message for turn in named for message in pair(turn, "input", "output")]]


CAPYBARA = DialogueFormat("capybara", "Capybara: a `conversation` of input and output", _recognises, _read)
