"""Passes that are learned from: matrix products by what the processor does fastest, and adapters added to their base's
product in place, where peft goes through memory five times more.

The values and gradients are those of the layers, to rounding. A layer is bent for as long as a pass takes, and its
weights are always its own, so whatever else reads the model finds it as it was.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable

from models.config import Kernel
from models.devices import CPU
from models.onednn import FROM_NUMBERS, learned_product, learns_by_onednn, learns_from, product
from models.working_copy import adapter_of, linear_layers

Forward = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def fast_learning(model: nn.Module, kernel: Kernel) -> Iterator[int]:
    """Inside, passes of `model` that gradients may flow back through are computed as `kernel` says; gives the number of
    layers that are bent to it. What is computed again on the way back must be, inside as well.

    0 layers, and the model as it is, with "torch", on a GPU, where weights are not held in float32, and inside another
    of these; inside autocast each layer is as it is.
    """
    layers = [] if kernel == "torch" else linear_layers(model)
    bent: list[tuple[nn.Module, Forward]] = []
    if layers and all(weight.device == CPU for _, weight in layers):
        least = learns_from(kernel)
        bent = [(module, _linear(module, weight, least)) for module, weight in layers if _is_bent(module, least)]
    try:
        for module, forward in bent:
            vars(module)["forward"] = forward
        yield len(bent)
    finally:
        for module, _ in bent:
            vars(module).pop("forward", None)


def told_of_kernel(model: nn.Module, kernel: Kernel) -> str:
    """Who makes the matrix products of a training on this machine, for a person; empty where nobody has asked and no
    layer is large."""
    if kernel == "auto" and all(weight.numel() < FROM_NUMBERS for _, weight in linear_layers(model)):
        return ""
    least = learns_from(kernel)
    if least is None:
        return "all matrix products by torch"
    large = f", from {least / 1e6:.0f} million multiply-adds on" if least else ""
    return f"matrix products of float32 by oneDNN{large}"


def _is_bent(module: nn.Module, least: int | None) -> bool:
    """Adapters without dropout; other layers only where oneDNN makes products at all."""
    if not isinstance(module, LoraLinear):
        return least is not None
    (name,) = module.active_adapters
    return isinstance(module.lora_dropout[name], nn.Identity)


def _linear(module: nn.Module, weight: torch.Tensor, least: int | None) -> Forward:
    bias = cast(torch.Tensor | None, module.bias)
    as_it_is = cast(Forward, module.forward)
    d_in = weight.shape[1]

    def forward(x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled(CPU.type):
            return as_it_is(x)
        fast = learns_by_onednn(weight, x.numel() // d_in, least)
        if isinstance(module, LoraLinear):
            adapted: torch.Tensor
            adapted = _Adapted.apply(x, weight, bias, *adapter_of(module), fast)  # type: ignore[no-untyped-call]
            return adapted
        return learned_product(x, weight, bias) if fast else as_it_is(x)

    return forward


class _Adapted(torch.autograd.Function):
    """y = x W^T + b + s (x A^T) B^T, of a base that is not trained (LoRA, arXiv 2106.09685, section 4.1)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
        fast: bool,
    ) -> torch.Tensor:
        rows = x.flatten(0, -2)
        inner = rows @ down.t()
        y = (product if fast else nn.functional.linear)(rows, weight, bias).addmm_(inner, up.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, down, up, inner)
        ctx.scaling, ctx.fast, ctx.shape = scaling, fast, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Sequence[torch.Tensor | None]:
        """With v = g B: dx = g W + s v A, dA = s v^T x, dB = s g^T (x A^T)."""
        rows, weight, down, up, inner = ctx.saved_tensors
        grads = grad.flatten(0, -2)
        through = grads @ up
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = product(grads, weight.t(), None) if ctx.fast else grads @ weight
            of_x = of_x.addmm_(through, down, alpha=ctx.scaling).view(ctx.shape)
        of_down = (through.t() @ rows).mul_(ctx.scaling) if ctx.needs_input_grad[3] else None
        of_up = (grads.t() @ inner).mul_(ctx.scaling) if ctx.needs_input_grad[4] else None
        return of_x, None, None, of_down, of_up, None, None
