"""Products by oneDNN, of weights as they are or as it has packed them; neither has a gradient.

torch makes float32 products by MKL, which on AMD processors is the slower one: 8 rows of 576 x 1,536 take it .42 ms,
and oneDNN .25 to .30 ms from packed weights. On Intel's, MKL was as fast or faster (docs/log.md), so there it stays.
Which way it is follows from processor and size alone: no measurement makes two runs differ.
"""

from functools import cache

import torch

from models.devices import CPU, cpu_maker

# A call costs about 15 µs more than torch's own, which smaller weights do not win back.
FROM_NUMBERS = 2**18
# The number of rows that the packing is made for; with 1 to 256 it was the best or near it.
FOR_ROWS = 32


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


@cache
def works() -> bool:
    """Whether this torch has the operators, which are private ones, and they compute a linear layer."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((3, 64), (96, 64), (96,)))
    try:
        with torch.no_grad():
            made = product(x, pack(weight), bias)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(made, torch.nn.functional.linear(x, weight, bias), atol=1e-4)
