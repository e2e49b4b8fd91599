"""The one place that knows accelerators, CPU threads and precision: where the models of this process compute, and how.

Whoever opens a model for reading gets it where it computes (models/checkpoint.py). One that is to be trained comes on
the CPU and is moved by the trainer, in the process that trains it: forked processes each have a GPU of their own, and
the one they come from must not have touched any.
"""

import os
from functools import cache
from pathlib import Path

import torch
from torch import nn

CPU = torch.device("cpu")


def device() -> torch.device:
    """Of this process: the GPU of its rank in a training of several processes, the first one in any other; the CPU
    where there is no GPU."""
    if not torch.cuda.is_available():
        return CPU
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def has_accelerator() -> bool:
    """Whether this process computes elsewhere than on the CPU."""
    return device().type != CPU.type


def device_name() -> str:
    """What the maker calls the accelerator of this process; empty on a CPU."""
    return torch.cuda.get_device_name(device()) if has_accelerator() else ""


@cache
def cpu_maker() -> str:
    """Of this CPU as it names itself, "GenuineIntel" or "AuthenticAMD"; empty where the system does not tell."""
    return _told_of_cpu("vendor_id")


@cache
def cpu_family() -> int:
    """The maker's number for it: of AMD 25 is Zen 3 and 4, 26 is Zen 5; 0 where the system does not tell."""
    told = _told_of_cpu("cpu family")
    return int(told) if told.isdecimal() else 0


def _told_of_cpu(field: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in told if name.strip() == field), "")


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies, and so where what it reads must lie."""
    return next(model.parameters()).device


def require_devices(processes: int) -> None:
    """Raise ValueError where there are GPUs, but not one for each of several processes."""
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ValueError(f"processes: {processes} take a GPU each, this machine has {gpus}: set processes to {gpus}")


def use_threads(threads: int) -> None:
    """CPU threads of torch, from here on in this process."""
    torch.set_num_threads(threads)


def autocast(dtype: str) -> torch.autocast:
    """With "bfloat16", what is computed inside takes its matrix products in it, whatever the weights are held in; what
    layers add up stays in float32. With "float32" nothing changes.

    Weights are cast once for all that is inside, so one forward pass, or one batch of answers, should be.
    """
    return torch.autocast(device().type, torch.bfloat16, enabled=dtype == "bfloat16")
