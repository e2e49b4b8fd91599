"""Weights as those read them fastest who do not train them.

Decoding: one copy of the linear layers, adapters merged in, transposed or packed.

A token at a time, a linear layer reads all its weights for a few rows. From (d_in, d_out) an Intel CPU does that 1.3 to
1.7 times as fast as from torch's (d_out, d_in), an AMD CPU from weights packed by oneDNN; an adapter that is not merged
adds two small products to each layer of each token. The model's own weights are never written: when the copy goes they
are what they were, to the bit.

Whole sequences: no copy, but each layer merges its adapter into a matrix that lives as long as its one product.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from models.devices import CPU
from models.onednn import by_onednn, pack, product

# What a copy costs is about four tokens' reading, and at most so much memory.
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
    layers = linear_layers(model) if tokens >= PAYS_FROM_TOKENS else []
    size = sum(weight.numel() * weight.element_size() for _, weight in layers)
    if size > AT_MOST_BYTES or not layers or torch.is_autocast_enabled(layers[0][1].device.type):
        yield 0
        return
    try:
        for module, weight in layers:
            module.forward = _from_copy(module, weight)
        yield size
    finally:
        for module, _ in layers:
            vars(module).pop("forward", None)


@contextmanager
def fast_reading(model: nn.Module) -> Iterator[int]:
    """Inside, layers with an adapter read many tokens at once from one matrix, W + s B A, made for that product alone,
    and large products are made by what the processor does fastest; gives the number of such layers. Nothing inside may
    train the model, or be a pass that is learned from.

    0 layers, and the model as it is, on a GPU, where the weights are not held in float32 or are computed in bfloat16,
    and where an adapter is not as it should be.
    """
    found = [entry for entry in linear_layers(model) if isinstance(entry[0], LoraLinear) or by_onednn(entry[1])]
    if any(weight.device != CPU for _, weight in found) or torch.is_autocast_enabled(CPU.type):
        found = []
    try:
        for module, weight in found:
            module.forward = _without_gradient(module, weight)
        yield len(found)
    finally:
        for module, _ in found:
            vars(module).pop("forward", None)


def pays_to_merge(tokens: int, d_in: int, d_out: int) -> bool:
    """Whether merging moves fewer numbers than the adapter does. Merging reads W and writes W + s B A; the adapter
    reads x once more and takes four passes over y, for each token."""
    return tokens * (d_in + 4 * d_out) >= 2 * d_in * d_out


def _without_gradient(module: nn.Module, weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """y = x W'^T + b with W' = W + s B A; as the layer itself makes it where a gradient is wanted, or merging does not
    pay."""
    bias = cast(torch.Tensor | None, module.bias)
    make = product if by_onednn(weight) else nn.functional.linear
    adapted, (d_out, d_in) = isinstance(module, LoraLinear), weight.shape
    as_it_is = cast(Callable[[torch.Tensor], torch.Tensor], module.forward)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or (adapted and not pays_to_merge(x.numel() // d_in, d_in, d_out)):
            return as_it_is(x)
        return make(x, _merged(module, weight), bias)

    return forward


def linear_layers(model: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """All linear layers of float32, with the weights (d_out, d_in) of their bases; none where one is not as it should
    be or is spread over processes, and none of a whole model on a GPU."""
    found: list[tuple[nn.Module, torch.Tensor]] = []
    inside: set[nn.Module] = set()
    adapters = False
    for module in model.modules():
        if module in inside or not isinstance(module, nn.Linear | LoraLinear):
            continue
        if isinstance(module, LoraLinear):
            inside |= set(module.modules())
            base, mergeable, adapters = module.get_base_layer(), _is_plain(module), True
        else:
            base, mergeable = module, True
        held_here = type(base) is nn.Linear and type(base.weight) is nn.Parameter  # (not in parts over processes)
        if not held_here or not mergeable or "forward" in vars(module):
            return []
        found.append((module, base.weight))
    whole = all(weight.dtype == torch.float32 for _, weight in found)
    return found if whole and (adapters or all(weight.device == CPU for _, weight in found)) else []


def _is_plain(module: LoraLinear) -> bool:
    """Whether it computes W x + b + s B A x, with one adapter and nothing else."""
    if module.disable_adapters or module.merged or module.lora_variant or len(module.active_adapters) != 1:
        return False
    return module.lora_B[module.active_adapters[0]].bias is None


@torch.no_grad()
def _from_copy(module: nn.Module, weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """y = x W'^T + b with W' = W + s B A in memory of its own."""
    bias = cast(torch.Tensor | None, module.bias)
    if by_onednn(weight):
        packed = pack(_merged(module, weight))
        return lambda x: product(x, packed, bias)
    copy = weight.t().contiguous()
    if isinstance(module, LoraLinear):
        down, up, scaling = adapter_of(module)
        copy.addmm_(down.t(), up.t(), alpha=scaling)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return x @ copy if bias is None else (x @ copy).add_(bias)

    return forward


def _merged(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """W + s B A (d_out, d_in); W itself where there is no adapter."""
    if not isinstance(module, LoraLinear):
        return weight
    down, up, scaling = adapter_of(module)
    return torch.addmm(weight, up, down, alpha=scaling)


def adapter_of(module: LoraLinear) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A (r, d_in), B (d_out, r) and s of the one adapter."""
    (name,) = module.active_adapters
    return module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]
