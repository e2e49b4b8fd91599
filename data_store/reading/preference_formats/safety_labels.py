"""Answers that are each called safe or not: BeaverTails and WildGuardMix. Pairs where a prompt has both.

https://huggingface.co/datasets/PKU-Alignment/BeaverTails and https://huggingface.co/datasets/allenai/wildguardmix
"""

from collections.abc import Iterator, Sequence
from typing import Any

from data_store.reading.bad_rows import RefusedRowError
from data_store.reading.messages import Messages, prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, labelled_pairs
from data_store.reading.source_files import Record
from data_store.reading.words import is_true, word

_HARM = ("unharmful", "harmful")


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`prompt`, `response` and `is_safe`, or `response_harm_label`. The axis is that of safety, with its label."""
    for found in labelled_pairs(records, _parts):
        of_safety = {"axis": "safety", "safety_label": "chosen_safe_other_unsafe"}
        yield {**found, **of_safety} if isinstance(found, dict) else found


def _parts(record: Record) -> tuple[Messages, str, bool]:
    return prompt_in(record, "prompt"), record.text("response").strip(), is_safe(record)


def is_safe(record: Record) -> bool:
    """What the record says of its answer. Raises RefusedRowError where nobody judged it."""
    if "is_safe" in record.fields:
        return is_true(record, "is_safe")
    if record.fields.get("response_harm_label") in (None, ""):
        raise RefusedRowError("no_judgement", "response_harm_label is empty")
    return word(record, "response_harm_label", _HARM) == "unharmful"


SAFETY_LABELLED = PreferenceFormat(
    "safety_labels",
    "BeaverTails and WildGuard: answers that are each called safe or not",
    read,
    lambda fields: {"prompt", "response"} <= set(fields) and not {"is_safe", "response_harm_label"}.isdisjoint(fields),
    together=lambda fields: fields.get("prompt"),
    adjacent=False,
)
