"""Llama's layers in fewer passes, against transformers' own."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from models.checkpoint import load_policy
from models.devices import autocast
from models.fused import FusedAttention, FusedMLP, FusedRMSNorm, Projection, _RMSNorm, fuse, project, rotate
from tests.models.conftest import stirred

IDS = torch.tensor([[1, 4, 20, 21, 22, 5, 9], [1, 4, 33, 34, 35, 5, 8]])


def plain(model: nn.Module) -> nn.Module:
    """The same with transformers' own layers."""
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, FusedAttention | FusedMLP | FusedRMSNorm):
            module.__class__ = type(module).__mro__[1]
    return other


def learned(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradient of a loss at each weight that learns."""
    logits = model(input_ids=IDS).logits
    nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture(params=["whole", "adapter"])
def policy(
    request: pytest.FixtureRequest, heads: str, policy_folders: dict[str, Path], adapter_folders: dict[str, Path]
) -> nn.Module:
    base = policy_folders[heads]
    folder = base if request.param == "whole" else adapter_folders[heads] / "policy"
    return stirred(load_policy(folder, base, trainable=True))


@pytest.mark.conformance("a layer that was made faster", equation="models.fused:fuse")
def test_logits_and_gradients_are_those_of_transformers_layers(policy: nn.Module) -> None:
    assert sum(isinstance(module, FusedAttention | FusedMLP | FusedRMSNorm) for module in policy.modules()) == 9
    logits, gradients = learned(policy)
    expected, theirs = learned(plain(policy))
    torch.testing.assert_close(logits, expected, atol=3e-5, rtol=1e-5)
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5 * float(theirs[name].abs().max()), rtol=1e-4)


def test_only_the_class_of_a_layer_is_another(gqa_policy: Path) -> None:
    theirs = LlamaForCausalLM.from_pretrained(gqa_policy)
    weights = {name: weight.data_ptr() for name, weight in theirs.named_parameters()}
    assert {name: weight.data_ptr() for name, weight in fuse(theirs).named_parameters()} == weights
    assert isinstance(theirs, LlamaForCausalLM)


def test_under_autocast_layers_do_what_transformers_do_to_the_bit(policy: nn.Module) -> None:
    with torch.no_grad(), autocast("bfloat16"):
        assert torch.equal(policy(input_ids=IDS).logits, plain(policy)(input_ids=IDS).logits)


def test_a_hook_on_a_layer_is_called(policy: nn.Module) -> None:
    seen: list[str] = []
    for name, module in policy.named_modules():
        if name.endswith(("q_proj", "down_proj")):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    policy(input_ids=IDS)
    assert len(seen) == 4


def test_root_mean_square_normalisation_by_hand() -> None:
    found = _RMSNorm.apply(torch.tensor([[3.0, -4.0]]), torch.tensor([1.0, 2.0]), 0.0)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, torch.tensor([[3.0, -8.0]]) / math.sqrt(12.5))


def test_a_quarter_turn_by_hand() -> None:
    x, zero, one = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.zeros(4), torch.ones(4)
    assert rotate(x[None, None, None], zero, one).flatten().tolist() == [-3, -4, 1, 2]  # (a, b) to (-b, a)


@pytest.mark.conformance("a layer that was made faster", equation="models.fused:_RMSNorm")
def test_gradients_of_normalisation_and_rotation_are_the_slopes() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = (
        torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in ((2, 3, 4), (4,))
    )
    assert torch.autograd.gradcheck(lambda x, w: _RMSNorm.apply(x, w, 1e-5), (x, weight))
    angles = torch.randn((1, 1, 3, 2), dtype=torch.float64, generator=generator).repeat(1, 1, 1, 2)
    assert torch.autograd.gradcheck(lambda x: rotate(x[None], angles.cos(), angles.sin()), (x,))


@pytest.mark.parametrize("frozen", [(), (0,), (1, 4), (1, 2, 3)])
@pytest.mark.conformance("a layer that was made faster", equation="models.fused:project")
def test_gradients_of_projections_are_the_slopes_whatever_is_frozen(frozen: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, 3, 4), (5, 4), (2, 4), (5, 2), (3, 4)]  # x; W, A and B of one; W of another
    tensors = [
        torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=i not in frozen)
        for i, shape in enumerate(shapes)
    ]

    def of(x: torch.Tensor, weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, other: torch.Tensor):  # type: ignore[no-untyped-def]
        return project(x, [Projection(weight, None, down, up, 0.5), Projection(other, None)])

    assert torch.autograd.gradcheck(of, tensors)
    x, weight, down, up, other = tensors
    torch.testing.assert_close(of(*tensors)[0], x @ weight.t() + 0.5 * x @ down.t() @ up.t())
    torch.testing.assert_close(of(*tensors)[1], x @ other.t())
