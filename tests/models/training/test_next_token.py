"""The loss of the next token is that of transformers, whatever share of the tokens is learned."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from models.checkpoint import backbone, load_policy, output_embeddings
from models.training.next_token import next_token_losses
from models.training.packing import IGNORED

IDS = torch.tensor([[1, 4, 20, 21, 22, 5], [1, 4, 33, 1, 35, 5]])
BATCH = {
    "input_ids": IDS,
    "position_ids": torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2]]),
    "labels": torch.tensor([[IGNORED, IGNORED, 20, 21, 22, 5], [IGNORED, 4, IGNORED, IGNORED, 35, IGNORED]]),
}


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.conformance("logits of what is not learned", equation="models.training.next_token:next_token_losses")
@pytest.mark.parametrize("adapted", [False, True])
def test_loss_and_gradients_are_those_of_transformers(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path], adapted: bool
) -> None:
    base = policy_folders[heads]
    model = load_policy(adapter_folders[heads] / "policy" if adapted else base, base, trainable=True)
    losses = next_token_losses(model, BATCH)
    whole = model(**BATCH, use_cache=False).loss
    assert len(losses) == 6
    torch.testing.assert_close(losses.mean(), whole, atol=1e-6, rtol=1e-6)
    expected, found = gradients(model, whole), gradients(model, losses.mean())
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, atol=1e-6, rtol=1e-5)


@pytest.mark.conformance("logits of what is not learned", equation="models.training.next_token:next_token_losses")
def test_a_token_is_predicted_from_the_one_before_and_no_other_has_logits(gqa_policy: Path) -> None:
    """Where the head gives every token the same logits, each label costs ln V."""
    model = load_policy(gqa_policy)
    head = output_embeddings(model)
    seen: list[torch.Tensor] = []
    head.register_forward_hook(lambda _, given, made: (seen.append(given[0]), torch.zeros_like(made))[1])
    with torch.no_grad():
        losses = next_token_losses(model, BATCH)
        hidden = backbone(model)(BATCH["input_ids"], position_ids=BATCH["position_ids"]).last_hidden_state
    places = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 3)]
    torch.testing.assert_close(seen[0], torch.stack([hidden[place] for place in places]))
    assert losses.tolist() == pytest.approx([math.log(head.weight.shape[0])] * 6)
