"""This machine measured: what a pass of another size takes follows from it."""

import time
from dataclasses import replace

import pytest
import torch

from models.calibration import calibrate
from models.costs import forward_flops
from models.hardware import KINDS
from models.llama import build_llama
from models.llama_presets import Architecture

SHAPE = Architecture(
    hidden_size=128, num_layers=2, num_heads=4, num_kv_heads=4, ffn_size=256, context_length=256, vocab_size=512
)


@pytest.mark.slow
def test_a_pass_takes_what_was_measured_of_passes_of_other_sizes() -> None:
    here = calibrate(SHAPE, seconds=3)
    assert here.is_measured
    assert set(here.rates) == set(KINDS)
    assert here.watts > 0 < here.bandwidth < 1e13
    model, ids = build_llama(SHAPE, 0, 0, 1, 2), torch.randint(3, 512, (4, 128))
    taken = []
    with torch.inference_mode():
        for _ in range(20):
            began = time.process_time()
            model(input_ids=ids, use_cache=False)
            taken.append(time.process_time() - began)
    rate = here.rates["read"]["float32"]
    planned = SHAPE.num_layers * rate.seconds + forward_flops(SHAPE, 512, 64) / rate.flops
    assert 1 / 2 < sorted(taken)[10] / planned < 2


@pytest.mark.slow
def test_of_a_large_model_fewer_blocks_are_measured_and_each_costs_the_same() -> None:
    """400 blocks of 165,000 weights are more than is measured; passes would take a minute."""
    began = time.process_time()
    here = calibrate(replace(SHAPE, num_layers=400), seconds=1)
    assert time.process_time() - began < 60
    assert here.rates["read"]["float32"].seconds < 0.1
