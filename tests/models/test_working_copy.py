"""The copy of the weights that decoding reads: equal, of the adapter too, and gone without a trace."""

from pathlib import Path
from typing import cast

import pytest
import torch
from peft import PeftModel
from torch import nn

from models import working_copy as module
from models.checkpoint import load_policy
from models.devices import autocast
from models.working_copy import PAYS_FROM_TOKENS, working_copy
from tests.models.conftest import stirred
from tests.models.test_generation import draw

IDS = torch.tensor([[1, 4, 20, 21, 22, 5], [1, 4, 33, 34, 35, 5]])
ENOUGH = PAYS_FROM_TOKENS


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.fixture(params=["whole", "adapter"])
def policy(
    request: pytest.FixtureRequest, heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> nn.Module:
    """A whole policy and an adapter on it, in turn, with either kind of attention."""
    base = policy_folders[heads]
    return load_policy(base if request.param == "whole" else adapter_folders[heads] / "policy", base)


@pytest.mark.conformance("a merged adapter", equation="models.working_copy:working_copy")
def test_the_copy_computes_what_the_model_computes_which_is_as_it_was_to_the_bit_after(policy: nn.Module) -> None:
    before, weights = logits(policy), {name: weight.clone() for name, weight in policy.state_dict().items()}
    with working_copy(policy, ENOUGH) as size:
        inside = logits(policy)
    assert size > 0
    torch.testing.assert_close(inside, before, atol=2e-5, rtol=1e-5)
    assert torch.equal(logits(policy), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in policy.state_dict().items())


@pytest.mark.conformance("a merged adapter", equation="models.working_copy:working_copy")
def test_the_adapter_is_in_the_copy_and_the_base_alone_is_not_it(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> None:
    base = load_policy(policy_folders[heads])
    with working_copy(load_policy(adapter_folders[heads] / "policy", base), ENOUGH):
        of_base = logits(base)
    adapted = load_policy(adapter_folders[heads] / "policy", base)
    with working_copy(adapted, ENOUGH):
        assert float((logits(adapted) - of_base).abs().max()) > 0.1
    assert torch.equal(of_base, logits(load_policy(policy_folders[heads])))  # roles over one base do not see it


def test_a_copy_is_of_the_weights_of_its_day(policy: nn.Module) -> None:
    with working_copy(policy, ENOUGH):
        old = logits(policy)
    stirred(policy.requires_grad_())
    with working_copy(policy, ENOUGH):
        new = logits(policy)
    assert float((new - old).abs().max()) > 0.1
    torch.testing.assert_close(new, logits(policy), atol=2e-4, rtol=1e-5)


def test_the_same_answers_are_drawn_with_a_copy_and_without(policy: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    with_copy = draw(policy, tokens=ENOUGH)
    monkeypatch.setattr(module, "PAYS_FROM_TOKENS", 1000)
    without = draw(policy, tokens=ENOUGH)
    assert [[each.ids for each in row] for row in with_copy] == [[each.ids for each in row] for row in without]
    for [ours], [theirs] in zip(with_copy, without, strict=True):
        torch.testing.assert_close(torch.tensor(ours.logprobs), torch.tensor(theirs.logprobs), atol=2e-5, rtol=1e-5)


def test_an_error_inside_leaves_the_model_as_it_was(policy: nn.Module) -> None:
    with pytest.raises(KeyError), working_copy(policy, ENOUGH):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in policy.modules())


def test_biases_are_added(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.bias = nn.Parameter(torch.linspace(-1, 1, layer.out_features))
    before = logits(model)
    with working_copy(model, ENOUGH) as size:
        torch.testing.assert_close(logits(model), before, atol=2e-4, rtol=1e-5)
    assert size > 0


def test_where_a_copy_does_not_pay_or_would_round_there_is_none(
    heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = policy_folders[heads], adapter_folders[heads] / "policy"
    policy = load_policy(adapter, base)

    def size(model: nn.Module, tokens: int = ENOUGH) -> int:
        with working_copy(model, tokens) as found:
            return found

    assert size(policy) > 0
    assert size(policy, ENOUGH - 1) == 0
    assert size(load_policy(adapter, base, dtype="bfloat16")) == 0
    with autocast("bfloat16"):
        assert size(policy) == 0
    with cast(PeftModel, policy).disable_adapter():
        assert size(policy) == 0
    monkeypatch.setattr(module, "AT_MOST_BYTES", size(policy) - 1)
    assert size(policy) == 0
