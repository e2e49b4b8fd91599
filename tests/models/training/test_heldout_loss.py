"""The loss on held-out documents, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from models.training.heldout_loss import losses


class Even(nn.Module):
    """Every one of four tokens is as likely as the others, whatever comes before; counts what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.given: list[int] = []
        self.modes: list[bool] = []

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        self.given.append(input_ids.shape[1])
        self.modes.append(self.training)
        return SimpleNamespace(logits=torch.zeros(1, input_ids.shape[1], 4))


def test_each_document_is_read_in_pieces_and_its_first_tokens_are_not_predicted() -> None:
    model = Even().train()
    found = losses(model, [[0, 1, 2], [3] * 7, [1]], 3)
    assert model.given == [3, 3, 3], "a piece of one token predicts nothing"
    assert [tokens for _, tokens in found] == [2, 4]
    assert [loss for loss, _ in found] == pytest.approx([2 * math.log(4), 4 * math.log(4)])
    assert model.modes == [False] * 3
    assert model.training, "the model goes on as it was"
