"""Stanford Human Preferences: a post and two comments, of which one had more votes though it was there no longer.

https://huggingface.co/datasets/stanfordnlp/SHP
"""

from collections.abc import Iterator, Sequence
from typing import Any

from data_store.errors import InputError
from data_store.reading.preference_formats.format import PreferenceFormat
from data_store.reading.preference_formats.pairs import Found, Row, each_row, seen
from data_store.reading.source_files import Record


def read(records: Sequence[Record], _: Any) -> Iterator[Found]:
    """`history` is the post; `labels` is 1 where `human_ref_A` is the better one."""
    return each_row(records, _row)


def _row(record: Record) -> Row:
    label = str(record.value("labels"))
    if label not in ("0", "1"):
        raise InputError(f"{record.where}: field 'labels' is {label!r}; use one of 0, 1")
    prompt = [{"role": "user", "content": record.text("history").strip()}]
    first, second = (record.text(f"human_ref_{side}").strip() for side in "AB")
    return seen(prompt, first, second, "ba"[int(label)])


SHP = PreferenceFormat(
    "shp",
    "Stanford Human Preferences: a post and two comments",
    read,
    lambda fields: {"history", "human_ref_A", "human_ref_B", "labels"} <= set(fields),
    reads=frozenset({"history"}),
)
