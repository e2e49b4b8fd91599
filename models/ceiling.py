"""The most operations a second that the device of this process can do: what a training's speed is a share of."""

import itertools
import time
from dataclasses import dataclass

import torch

from models.devices import device, device_name, has_accelerator
from models.hardware import stated_peaks

_SECONDS, _LEAST = 0.2, 3


@dataclass(frozen=True)
class Ceiling:
    """`flops`: operations a second of one device, or of one process on a CPU. `origin`: who says so."""

    flops: float
    origin: str


def ceiling(dtype: str) -> Ceiling:
    """Of the device of this process with products in `dtype`: the maker's figure where models/hardware.py has it, else
    the best of some large products, measured in a fifth of a second on as many threads as torch has."""
    name = device_name()
    stated = stated_peaks(name).get(dtype)
    if stated is not None:
        return Ceiling(stated, f"the maker's figure for {name}")
    return Ceiling(_measured(getattr(torch, dtype)), "measured with products of large matrices")


def _measured(dtype: torch.dtype) -> float:
    size = 4096 if has_accelerator() else 512
    # no random numbers: those of the training stay where they are
    matrix = torch.full((size, size), 0.5, dtype=dtype, device=device())
    best, began = 0.0, time.perf_counter()
    for number in itertools.count():
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a number waits for the device
        ended = time.perf_counter()
        best = max(best, 2 * size**3 / (ended - started))
        if number >= _LEAST and ended - began > _SECONDS:
            return best
    raise AssertionError("not reached")
