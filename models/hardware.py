"""Machines that a run can be planned for: how fast they multiply and read memory, what they hold and draw.

Figures of GPUs are their makers' (dense, without sparsity); those of the machine at hand are measured
(models/calibration.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

# The linear layers of passes with a way back and without one, attention of both, logits of both, and a token of an
# answer with all that it needs
KINDS = ("train", "read", "attention", "head", "decode")


@dataclass(frozen=True)
class Rate:
    """How long a pass takes: `seconds` for each block, whatever its size (starting kernels, Python), and the operations
    at `flops` a second."""

    seconds: float
    flops: float


@dataclass(frozen=True)
class Hardware:
    """One device. `rates`: kind of pass → how fast, by dtype; `bandwidth` in bytes a second; `memory` in bytes; `watts`
    under load. `step_seconds`: what a step takes beside its passes: its process, opening and saving models.
    `is_measured`: the rates are those of this very machine. `cores`: processes that can compute side by side on it."""

    name: str
    rates: Mapping[str, Mapping[str, Rate]]
    bandwidth: float
    memory: float
    watts: float
    step_seconds: float
    is_measured: bool = False
    cores: int = 1


def gpu(name: str, half: float, single: float, bandwidth: float, memory: float, watts: float, use: float) -> Hardware:
    """A GPU of which `use` of the peak is reached: `half` operations a second in bfloat16, `single` in float32."""
    # 25 ms a token for the 32 blocks of a 7B in transformers, when the device waits for Python
    rates = {kind: {"bfloat16": Rate(0.0008, half * use), "float32": Rate(0.0008, single * use)} for kind in KINDS}
    return Hardware(name, rates, bandwidth, memory, watts, step_seconds=20.0)


GPUS: Mapping[str, tuple[float, float, float, float, float]] = {
    "a100": (312e12, 19.5e12, 2.039e12, 80e9, 400),  # NVIDIA A100 80GB SXM data sheet
    "h100": (989e12, 67e12, 3.35e12, 80e9, 700),  # NVIDIA H100 SXM data sheet
    "h200": (989e12, 67e12, 4.8e12, 141e9, 700),  # NVIDIA H200 SXM data sheet
}


def stated_peaks(name: str) -> Mapping[str, float]:
    """Operations a second by dtype, of the GPU whose maker's name this is, such as «NVIDIA H200»; empty for others."""
    words = name.lower().replace("-", " ").split()
    found = next((peaks for key, peaks in GPUS.items() if key in words), None)
    return {} if found is None else {"bfloat16": found[0], "float32": found[1]}
