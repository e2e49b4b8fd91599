"""This machine measured: what a pass of another size takes follows from it."""

import time
from dataclasses import replace

import pytest
import torch

from models.calibration import calibrate, measurable
from models.costs import forward_flops, head_flops, parameters
from models.hardware import KINDS
from models.llama import build_llama
from models.llama_presets import PRESETS, Architecture

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
    rate, head = here.rates["read"]["float32"], here.rates["head"]["float32"]
    planned = SHAPE.num_layers * rate.seconds + forward_flops(SHAPE, 512, 64, head=0.0) / rate.flops
    planned += head_flops(SHAPE, 512) / head.flops
    assert 1 / 2 < sorted(taken)[10] / planned < 2


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_is_measured_for_a_large_model_is_small(name: str) -> None:
    small = measurable(PRESETS[name])
    assert parameters(small) <= 40_000_000
    assert small.hidden_size % small.num_heads == small.num_heads % small.num_kv_heads == 0
    assert small.hidden_size // small.num_heads == PRESETS[name].hidden_size // PRESETS[name].num_heads


def test_a_small_model_is_measured_as_it_is() -> None:
    assert measurable(SHAPE) == replace(SHAPE, context_length=512)
