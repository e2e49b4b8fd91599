"""Rows that would train on what is kept for a test, refused by name as they are read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data_store.errors import InputError
from data_store.reading import dialogue_readers
from data_store.reading.row_import import Imported
from tasks.held_out import begins_with


@dataclass(frozen=True)
class Kept:
    """What texts are kept for: the reason in the refused rows, its detail, and what to do where nothing is left."""

    reason: str
    detail: str
    remedy: str


HELD_OUT = Kept(
    dialogue_readers.HELD_OUT,
    "answers a held-out prompt",
    "every {} answers a prompt that is held out for evaluation: give others, or other prompts to evaluate on",
)
IN_REWARD_TEST = Kept(
    "in_reward_test",
    "its prompt stands in a test set of reward models",
    "every {} has a prompt that stands in reward_tests.sets: give others, or other test sets",
)


def without_texts(read: Imported, texts: frozenset[str], kept: Kept) -> Imported:
    """Dialogues, prompts or pairs of which no answer stands behind one of these texts; the others are refused. A prompt
    or pair counts as answered. Raises InputError where none is left."""
    (left,) = each_without_texts([read], texts, kept)
    return left


def each_without_texts(pieces: Iterable[Imported], texts: frozenset[str], kept: Kept) -> Iterator[Imported]:
    """The same of rows that come some at a time; at the end it is seen whether any is left."""
    key, left = "", 0
    for read in pieces:
        if not texts:
            yield read
            continue
        key = read.rows.schema.names[0]  # the id comes first in these kinds of rows
        told = [begins_with(_answered(messages), texts) for messages in read.rows.column("messages").to_pylist()]
        refused = [
            {"doc_id": row[key], "source": row["source"], "reason": kept.reason, "detail": kept.detail}
            for row in read.rows.select([key, "source"]).filter(pa.array(told, pa.bool_())).to_pylist()
        ]
        left += told.count(False)
        rows = read.rows.filter(pa.array([not is_told for is_told in told], pa.bool_()))
        more = pa.Table.from_pylist(refused, schema=read.refused.schema)
        yield Imported(rows, pa.concat_tables([read.refused, more]))
    if texts and not left:
        raise InputError(kept.remedy.format(key.removesuffix("_id").replace("dialogue", "demonstration")))


def _answered(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return messages if messages[-1]["role"] == "assistant" else [*messages, {"role": "assistant", "content": ""}]
