"""What a training's speed is a share of: stated by the maker, or measured here, never invented."""

import torch

from models.ceiling import ceiling
from models.devices import has_accelerator, use_threads
from models.hardware import GPUS, stated_peaks


def test_a_gpu_that_is_known_has_its_makers_figures_and_no_other_has_any() -> None:
    assert stated_peaks("NVIDIA H200") == {"bfloat16": 989e12, "float32": 67e12}
    assert stated_peaks("NVIDIA A100-SXM4-80GB")["bfloat16"] == GPUS["a100"][0]
    assert stated_peaks("NVIDIA H1000") == stated_peaks("NVIDIA GeForce RTX 4090") == stated_peaks("") == {}


def test_on_a_cpu_the_ceiling_is_measured_and_no_product_is_faster() -> None:
    if has_accelerator():
        return
    use_threads(1)
    state = torch.get_rng_state()
    most = ceiling("float32")
    assert most.origin.startswith("measured")
    assert 1e8 < most.flops < 1e13
    assert torch.equal(torch.get_rng_state(), state), "a training that is timed draws what it would have drawn"
