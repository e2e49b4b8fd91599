"""Several sequences in one row, kept apart: fewer padding tokens, the same loss as one row each.

Position ids start anew with each sequence; without a cache transformers builds a block mask from them, so no token sees
another sequence's. Sequences are packed in a random order: packing by length would make batches of one kind of text
each, which learns worse.
"""

import random
from collections.abc import Sequence

import torch
from datasets import Dataset

IGNORED = -100


def pack(
    ids: Sequence[list[int]], labels: Sequence[list[int]], size: int, seed: int, *, together: bool = True
) -> Dataset:
    """Rows of at most `size` tokens: columns input_ids, labels (-100 does not count) and seq_lengths (of each
    sequence). Without `together` each sequence has a row of its own, in the same order.

    The first label of a sequence is never predicted, so it is set to -100. Raises ValueError for a sequence longer than
    `size`.
    """
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    rows: list[list[int]] = []
    filled = size + 1
    for i in order:
        if len(ids[i]) > size:
            raise ValueError(f"sequence {i + 1} has {len(ids[i])} tokens, a row holds {size}")
        if filled + len(ids[i]) > size or not together:
            rows.append([])
            filled = 0
        rows[-1].append(i)
        filled += len(ids[i])
    return Dataset.from_dict(
        {
            "input_ids": [[token for i in row for token in ids[i]] for row in rows],
            "labels": [[label for i in row for label in (IGNORED, *labels[i][1:])] for row in rows],
            "seq_lengths": [[len(ids[i]) for i in row] for row in rows],
        }
    )


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
