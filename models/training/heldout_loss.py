"""The loss of a model on documents that it has not seen."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy


@torch.no_grad()
def losses(model: nn.Module, documents: Sequence[list[int]], size: int) -> list[tuple[float, int]]:
    """(summed next-token loss in nats, predicted tokens) of each document, read in pieces of `size` tokens as training
    reads it; of documents with a token to predict."""
    was_training = model.training
    model.eval()
    try:
        return [each for ids in documents if (each := _loss(model, ids, size))[1]]
    finally:
        model.train(was_training)


def _loss(model: nn.Module, ids: list[int], size: int) -> tuple[float, int]:
    total, tokens = 0.0, 0
    for piece in _pieces(ids, size):
        row = torch.tensor([piece], device=next(model.parameters()).device)
        logits = model(input_ids=row).logits[0, :-1].float()
        total += float(cross_entropy(logits, row[0, 1:], reduction="sum"))
        tokens += len(piece) - 1
    return total, tokens


def _pieces(ids: list[int], size: int) -> Iterator[list[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size) if len(ids) - start > 1)
