"""Several sequences in one row, kept apart: fewer padding tokens, the same loss as one row each.

Position ids start anew with each sequence; without a cache transformers builds a block mask from them, so no token sees
another sequence's. Sequences are packed in a random order: packing by length would make batches of one kind of text
each, which learns worse.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

IGNORED = -100


def pack(
    ids: Sequence[list[int]],
    labels: Sequence[list[int]],
    size: int,
    seed: int,
    *,
    open_rows: int = 1,
    together: bool = True,
) -> Dataset:
    """Rows of at most `size` tokens: columns input_ids, labels (-100 does not count) and seq_lengths (of each
    sequence). A sequence comes into the first of `open_rows` rows that has room for it. Without `together` each
    sequence has a row of its own, in the same order.

    The first label of a sequence is never predicted, so it is set to -100. Raises ValueError for a sequence longer than
    `size`.
    """
    for i, sequence in enumerate(ids):
        if len(sequence) > size:
            raise ValueError(f"sequence {i + 1} has {len(sequence)} tokens, a row holds {size}")
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    lengths = [len(sequence) for sequence in ids]
    rows = _first_fit(order, lengths, size, open_rows) if together else [[i] for i in order]
    return Dataset.from_dict(
        {
            "input_ids": _lists(rows, lengths, lambda i: ids[i]),
            "labels": _lists(rows, lengths, lambda i: (IGNORED, *labels[i][1:])),
            "seq_lengths": _lists(rows, [1] * len(ids), lambda i: lengths[i : i + 1]),
        }
    )


def _lists(rows: Sequence[Sequence[int]], lengths: Sequence[int], read: Callable[[int], Sequence[int]]) -> pa.Array:
    """Each row's numbers, those of its sequences one after another, in 4 bytes each: as lists of lists they would take
    100 more while they are put together."""
    sizes = [sum(lengths[i] for i in row) for row in rows]
    numbers = np.fromiter((number for row in rows for i in row for number in read(i)), np.int32, sum(sizes))
    return pa.LargeListArray.from_arrays(np.cumsum([0, *sizes]), numbers)


def _first_fit(order: Sequence[int], lengths: Sequence[int], size: int, open_rows: int) -> list[list[int]]:
    """Each sequence, in its order, in the first of the open rows that has room for it. Of those that are open the
    oldest, which is the fullest, is closed for a new one."""
    rows: list[list[int]] = []
    places: list[int] = []  # of the open rows, with the room that is left in each
    rooms: list[int] = []
    for i in order:
        found = next((place for place, room in enumerate(rooms) if room >= lengths[i]), None)
        if found is None:
            if len(rooms) == open_rows:
                del places[0], rooms[0]
            places.append(len(rows))
            rooms.append(size)
            rows.append([])
            found = -1
        rows[places[found]].append(i)
        rooms[found] -= lengths[i]
    return rows


class PackedCollator:
    """Pads packed rows on the right: input_ids, labels and position_ids, each (B, T), and no attention mask."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(example["input_ids"]) for example in examples)
        ids = torch.full((len(examples), width), self.pad_id)
        labels = torch.full((len(examples), width), IGNORED)
        positions = torch.zeros((len(examples), width), dtype=torch.long)
        for i, example in enumerate(examples):
            used = len(example["input_ids"])
            ids[i, :used] = torch.tensor(example["input_ids"])
            labels[i, :used] = torch.tensor(example["labels"])
            place = 0
            for length in (*example["seq_lengths"], width - used):  # padding is one more sequence, which nothing sees
                positions[i, place : place + length] = torch.arange(length)
                place += length
        return {"input_ids": ids, "labels": labels, "position_ids": positions}
