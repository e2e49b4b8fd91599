"""Weights as decoding reads them fastest: one copy of the linear layers, adapters merged in, transposed.

A token at a time, a linear layer reads all its weights for a few rows. From (d_in, d_out) a CPU does that 1.3 to 1.7
times as fast as from torch's (d_out, d_in), and an adapter that is not merged adds two small products to each layer of
each token. The model's own weights are never written: when the copy goes they are what they were, to the bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from models.devices import CPU
from models.fused import Projection, projection_of

# What a copy costs is about four tokens' reading (benchmarks/peers/ppo_lora.py), and at most so much memory.
PAYS_FROM_TOKENS = 8
AT_MOST_BYTES = 2**31


@contextmanager
def working_copy(model: nn.Module, tokens: int) -> Iterator[int]:
    """Inside, the linear layers of `model` compute from a copy of their weights; gives the bytes it takes, which are
    free again after. Nothing inside may train the model.

    0 bytes, and the model as it is, where `tokens` one after another are too few to pay for a copy, where the layers
    are not held in float32 (merging would round the policy to another one) or are computed in bfloat16, where the copy
    would be larger than AT_MOST_BYTES, and for whole models on a GPU, which gain nothing.
    """
    layers = _layers(model) if tokens >= PAYS_FROM_TOKENS else []
    size = sum(each.weight.numel() * each.weight.element_size() for _, each in layers)
    if size > AT_MOST_BYTES or not layers or torch.is_autocast_enabled(layers[0][1].weight.device.type):
        yield 0
        return
    try:
        for module, projection in layers:
            module.forward = _from_copy(projection)
        yield size
    finally:
        for module, _ in layers:
            vars(module).pop("forward", None)


def _layers(model: nn.Module) -> list[tuple[nn.Module, Projection]]:
    """The layers to copy and what they compute; none where one is not as it should be."""
    found: list[tuple[nn.Module, Projection]] = []
    inside: set[nn.Module] = set()
    for module in model.modules():
        if module in inside or not isinstance(module, nn.Linear | LoraLinear):
            continue
        inside |= set(module.modules())
        projection = projection_of(module)
        if projection is None or projection.weight.dtype != torch.float32:
            return []
        found.append((module, projection))
    gains = any(each.down is not None or each.weight.device == CPU for _, each in found)
    return found if gains else []


@torch.no_grad()
def _from_copy(projection: Projection) -> Callable[[torch.Tensor], torch.Tensor]:
    """y = x W' + b with W' = (W + s B A)^T in memory of its own."""
    copy, bias = projection.weight.t().contiguous(), projection.bias
    if projection.down is not None and projection.up is not None:
        copy.addmm_(projection.down.t(), projection.up.t(), alpha=projection.scale)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return x @ copy if bias is None else (x @ copy).add_(bias)

    return forward
