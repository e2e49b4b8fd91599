"""Answers that are each called good or bad, as KTO learns from them (arXiv 2402.01306): pairs where a prompt has both.

https://huggingface.co/docs/trl/dataset_formats#unpaired-preference
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_store.reading.messages import Messages, answer_in, prompt_in
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, labelled_pairs
from data_store.reading.source_files import Record
from data_store.reading.words import is_true


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`prompt`, `completion` and `label`, which is true for a good one."""
    return labelled_pairs(records, _parts)


def _parts(record: Record) -> tuple[Messages, str, bool]:
    answer = answer_in(record, "completion", record.value("completion"))
    return prompt_in(record, "prompt"), answer, is_true(record, "label")


def _prompt(fields: Mapping[str, Any]) -> Any:
    return [fields.get(name) for name in ("prompt", "system", "history")]


KTO = PreferenceFormat(
    "kto",
    "KTO: answers that are each called good or bad",
    read,
    lambda fields: {"prompt", "completion", "label"} <= set(fields),
    together=_prompt,
    adjacent=False,
)
