"""Products by oneDNN, of weights as they are or as it has packed them, and of weights that are trained with gradients.

torch makes float32 products by MKL, which on AMD processors is the slower one: 8 rows of 576 x 1,536 take it .42 ms,
and oneDNN .25 to .30 ms from packed weights. On Intel's, MKL was as fast or faster (docs/log.md), so there it stays.
Which way it is follows from processor and size alone: no measurement makes two runs differ.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from models.config import Kernel
from models.devices import CPU, cpu_family, cpu_maker, device

# A call costs about 15 µs more than torch's own, which smaller weights do not win back.
FROM_NUMBERS = 2**18
# The number of rows that the packing is made for; with 1 to 256 it was the best or near it.
FOR_ROWS = 32
# By family of AMD's processors: from how many multiply-adds on a product that is learned from is faster by oneDNN, by
# 5 % or more with its way back (docs/log.md).
LEARNED_FROM = {25: 2**28, 26: 2**24}
# Where oneDNN also makes the gradients of weights faster; elsewhere torch makes them as fast or faster.
WEIGHTS_TOO = (26,)


def by_onednn(weight: torch.Tensor) -> bool:
    """Whether products with this weight (d_out, d_in) are to be made by oneDNN."""
    large = weight.device == CPU and weight.dtype == torch.float32 and weight.numel() >= FROM_NUMBERS
    return large and cpu_maker() == "AuthenticAMD" and works()


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A copy of float32 weights (d_out, d_in), in an order that only `product` can read."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), FOR_ROWS)
    return packed


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x W^T + b for x (…, d_in): (…, d_out), from a weight (d_out, d_in) or a packed one. Rounds otherwise than torch's
    own product."""
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


def learns_from(kernel: Kernel) -> int | None:
    """From how many multiply-adds on oneDNN makes a product of weights that may be trained; None where torch makes all.
    With "onednn" it makes every one of float32 on a CPU, with "auto" those that it makes faster on this processor."""
    known = LEARNED_FROM.get(cpu_family()) if cpu_maker() == "AuthenticAMD" else None
    least = {"torch": None, "onednn": 0, "auto": known}[kernel]
    return least if least is not None and device() == CPU and works() else None


def learns_by_onednn(weight: torch.Tensor, rows: int, least: int | None) -> bool:
    """Whether a product of so many rows with this weight (d_out, d_in) is one of those from `least` on."""
    return least is not None and weight.dtype == torch.float32 and rows * weight.numel() >= least


def learned_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x W^T + b for x (…, d_in): (…, d_out), with gradients of all three."""
    made: torch.Tensor = _Product.apply(x, weight, bias, cpu_family() in WEIGHTS_TOO)  # type: ignore[no-untyped-call]
    return made


class _Product(torch.autograd.Function):
    """Never from packed weights: a copy of what is trained would be of another day."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, weights_too: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.weights_too, ctx.shape = weights_too, x.shape
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Sequence[torch.Tensor | None]:
        """dx = g W, dW = g^T x, db = the sum of g over rows."""
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = product(rows, weight.t(), None).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            read = x.flatten(0, -2)
            of_weight = product(rows.t(), read.t(), None) if ctx.weights_too else rows.t() @ read
        return of_x, of_weight, rows.sum(0) if ctx.needs_input_grad[2] else None, None


@cache
def works() -> bool:
    """Whether this torch has the operators, which are private ones, and they compute a linear layer and its gradients.
    It may be asked where no gradients are wanted."""
    with torch.inference_mode(False), torch.enable_grad():
        return _computes_linear_layers()


def _computes_linear_layers() -> bool:
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 64), (96, 64), (96,), (3, 96)
    x, weight, bias, grad = (torch.randn(shape, generator=generator) for shape in shapes)
    given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    right = torch.nn.functional.linear(x, weight, bias)
    expected = [right, *torch.autograd.grad(right, given, grad)]
    try:
        with torch.no_grad():
            packed = product(x, pack(weight), bias)
        found = [
            [made, *torch.autograd.grad(made, given, grad)]
            for made in (_Product.apply(*given, too) for too in (True, False))  # type: ignore[no-untyped-call]
        ]
    except (AttributeError, RuntimeError):
        return False
    same = (torch.allclose(a, b, atol=1e-4) for each in found for a, b in zip(each, expected, strict=True))
    return torch.allclose(packed, right, atol=1e-4) and all(same)
