"""Weights of a file in bfloat16, made ready to be trained under bfloat16 products.

All weights of such a file lie on bfloat16's grid. What is trained is held in float32 (models/checkpoint.py), but a
matrix product reads it rounded: a first step of 0.00002 from a weight of 0.02 is rounded back to where it came from,
for every weight, until steps have added up to half the distance of two neighbours. Spread over what rounds to them,
as many weights cross to a neighbour in each step as should, and a product moves as the weights do, on average.
"""

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from models.seeds import derive_seed

_HALF = 2**15  # of the distance of two neighbours in bfloat16, counted in float32 numbers


def spread_in_rounding(model: nn.Module) -> None:
    """Move each weight that only matrix products read, and whose tensor lies on bfloat16's grid, to a random float32
    number that rounds to it: a forward pass under bfloat16 autocast stays the same to the bit.

    In place; a tensor of float32 of which any weight lies off the grid stays as it is. So do embeddings, with an output
    layer tied to them, and norms, which are read unrounded, and biases, which are few. The numbers depend on the name
    of the parameter alone.
    """
    products = {module.weight for module in model.modules() if isinstance(module, nn.Linear | Conv1D)}
    embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    spread_out = products - embeddings
    for name, parameter in model.named_parameters():
        if parameter in spread_out and _on_grid(parameter.data):
            parameter.data = spread(parameter.data, derive_seed(0, "rounding", name))


def spread(weights: torch.Tensor, seed: int) -> torch.Tensor:
    """Random numbers of float32 that round to these of bfloat16 (finite, given in float32, any shape), each as likely
    as any other. Zeros and subnormals stay.

    Evenly over the numbers, not over their distances: beside a power of two the lower neighbour is half as far away,
    and so a small step is rounded to itself on average in both directions.
    """
    generator, count = torch.Generator().manual_seed(seed), weights.numel()
    four = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    away = four.view(torch.int16)[:count].view(weights.shape)  # four at a draw: a large model has billions
    away.clamp_(min=1 - _HALF)  # what lies just between two neighbours rounds to the even one
    away.masked_fill_(weights.abs() <= torch.finfo(torch.float32).tiny, 0)
    # numbers of one sign are in the order of their bits, so all within half a distance are bits + away
    return (weights.view(torch.int32) + away).view(torch.float32)


def _on_grid(weights: torch.Tensor) -> bool:
    return weights.dtype == torch.float32 and torch.equal(weights, weights.bfloat16().float())
