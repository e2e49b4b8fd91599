"""Shapes of the published Llamas: exact parameter counts, without a single weight in memory."""

import pytest
import torch

from models.config import ArchitectureConfig
from models.llama import build_llama
from models.llama_presets import PRESETS, resolve_architecture

PARAMETERS = {  # as published with the weights
    "llama1-7b": 6_738_415_616,
    "llama1-13b": 13_015_864_320,
    "llama1-33b": 32_528_943_616,
    "llama1-65b": 65_285_660_672,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    # never published; 48 layers of 2 d² + 2 d · 1024 + 3 d · 22016 + 2 d, 2 · 32000 d and d, with d = 8192
    "llama2-34b": 48 * (2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 22_016 + 2 * 8192) + 2 * 32_000 * 8192 + 8192,
}


@pytest.mark.parametrize(("preset", "count"), PARAMETERS.items())
def test_presets_have_exactly_the_published_parameters(preset: str, count: int) -> None:
    architecture = resolve_architecture(ArchitectureConfig(preset=preset), PRESETS[preset].vocab_size)
    with torch.device("meta"):
        model = build_llama(architecture, seed=1, pad_id=0, bos_id=1, eos_id=2)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("preset", "context", "theta", "eps", "kv_heads"),
    [
        ("llama1-7b", 2048, 10_000, 1e-6, 32),
        ("llama2-7b", 4096, 10_000, 1e-5, 32),
        ("llama2-70b", 4096, 10_000, 1e-5, 8),
        ("llama3-8b", 8192, 500_000, 1e-5, 8),
    ],
)
def test_presets_carry_the_published_context_positions_and_attention(
    preset: str, context: int, theta: float, eps: float, kv_heads: int
) -> None:
    with torch.device("meta"):
        config = build_llama(PRESETS[preset], seed=1, pad_id=0, bos_id=1, eos_id=2).config
    assert (config.max_position_embeddings, config.rms_norm_eps) == (context, eps)
    assert (config.rope_parameters["rope_theta"], config.num_key_value_heads) == (theta, kv_heads)
    assert (config.hidden_act, config.attention_bias, config.mlp_bias) == ("silu", False, False)


def test_weights_come_from_the_seed_alone() -> None:
    shape = resolve_architecture(ArchitectureConfig(preset="little", hidden_size=32, ffn_size=64, num_layers=1), 300)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_llama(shape, 5, 3, 1, 2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = build_llama(shape, 5, 3, 1, 2).state_dict(), build_llama(shape, 6, 3, 1, 2).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_values_that_are_given_override_the_preset() -> None:
    shape = resolve_architecture(ArchitectureConfig(preset="llama2-7b", num_layers=2, num_kv_heads=8), 500)
    assert (shape.num_layers, shape.num_kv_heads, shape.hidden_size, shape.vocab_size) == (2, 8, 4096, 500)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (ArchitectureConfig(preset="llama9"), "unknown architecture preset 'llama9'; there are llama1-7b"),
        (ArchitectureConfig(hidden_size=32, num_layers=1), "lacks context_length, ffn_size, num_heads, num_kv_heads"),
        (ArchitectureConfig(preset="little", num_heads=3, num_kv_heads=3), "hidden_size must be a multiple"),
        (ArchitectureConfig(preset="little", num_kv_heads=3), "num_heads of num_kv_heads"),
    ],
)
def test_an_impossible_shape_is_refused(config: ArchitectureConfig, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        resolve_architecture(config, 500)


def test_fresh_weights_have_the_spread_that_is_asked_for() -> None:
    shape = resolve_architecture(ArchitectureConfig(preset="little", initializer_range=0.05), 300)
    model = build_llama(shape, 5, 3, 1, 2)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            assert float(weight.detach().std()) == pytest.approx(0.05, rel=0.03), name
    assert PRESETS["llama2-7b"].initializer_range == 0.02
