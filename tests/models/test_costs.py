"""Parameters, operations and memory by hand, and against what the papers report."""

from dataclasses import replace

import pytest
from transformers import LlamaForCausalLM

from models.config import LoraConfig
from models.costs import (
    activation_bytes,
    adapter_parameters,
    cache_bytes,
    flops_per_token,
    forward_flops,
    head_flops,
    implied_utilisation,
    parameters,
    training_flops,
    training_memory,
    utilisation,
)
from models.llama import build_llama
from models.llama_presets import PRESETS, Architecture

LITTLE = Architecture(
    hidden_size=8, num_layers=2, num_heads=2, num_kv_heads=1, ffn_size=16, context_length=32, vocab_size=10
)
PEAK_A100 = 312e12


@pytest.mark.conformance("costs of another model than the one that runs", equation="models.costs:parameters")
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_model_that_is_built(tied: bool) -> None:
    shape = replace(LITTLE, tie_embeddings=tied)
    model: LlamaForCausalLM = build_llama(shape, 0, 0, 1, 2)
    assert parameters(shape) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("llama2-7b", 6_738_415_616),
        ("llama2-13b", 13_015_864_320),
        ("llama2-70b", 68_976_648_192),
        ("llama3-8b", 8_030_261_248),
    ],
)
def test_published_models_have_their_published_counts(name: str, count: int) -> None:
    assert parameters(PRESETS[name]) == count


def test_adapters_by_hand() -> None:
    """q and v of 8 → 8 and 8 → 4 in two blocks, rank 3: 2 · 3 · ((8 + 8) + (8 + 4)) = 168."""
    assert adapter_parameters(LITTLE, LoraConfig(rank=3, target_modules=("q_proj", "v_proj"))) == 168


def test_adapters_are_as_many_as_peft_makes() -> None:
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    lora = LoraConfig(rank=3)
    model = get_peft_model(
        build_llama(LITTLE, 0, 0, 1, 2), PeftLora(r=3, target_modules=list(lora.target_modules), task_type="CAUSAL_LM")
    )
    assert adapter_parameters(LITTLE, lora) == sum(w.numel() for w in model.parameters() if w.requires_grad)


def test_a_forward_pass_by_hand() -> None:
    """A block: q 64, k 32, v 32, o 64, gate, up, down 128 each = 576 weights; two blocks and a head of 80: 1,232.
    5 tokens: 2 · 1232 · 5 = 12,320; attention over 3 tokens: 4 · 2 · 8 · 3 · 5 = 960."""
    assert forward_flops(LITTLE, 5, 3) == 12_320 + 960
    assert forward_flops(LITTLE, 5, 3, head=0.0) == 12_320 + 960 - head_flops(LITTLE, 5)


@pytest.mark.conformance("costs of another model than the one that runs", equation="models.costs:training_flops")
def test_operations_are_those_that_torch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = build_llama(LITTLE, 0, 0, 1, 2)
    model.set_attn_implementation("eager")  # torch counts its products; of a fused kernel on the CPU it counts none
    ids = torch.randint(3, 10, (2, 6))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    # attention here is over all 6 tokens of a row, masked ones too
    assert counter.get_total_flops() == pytest.approx(training_flops(LITTLE, 12, 6), rel=0.01)


def test_training_is_three_forward_passes_two_with_frozen_weights_and_one_more_with_checkpointing() -> None:
    once = forward_flops(LITTLE, 5, 3)
    assert training_flops(LITTLE, 5, 3) == 3 * once
    assert training_flops(LITTLE, 5, 3, frozen=True) == 2 * once
    assert training_flops(LITTLE, 5, 3, checkpointing=True) == 4 * once


def test_memory_of_a_7b_is_16_bytes_a_weight_and_a_fraction_of_it_with_adapters_or_spread() -> None:
    shape = PRESETS["llama2-7b"]
    whole = training_memory(shape, 4096, "bfloat16")
    assert whole.weights + whole.gradients + whole.optimizer == 16 * parameters(shape)
    adapters = training_memory(shape, 4096, "bfloat16", lora=LoraConfig(rank=16))
    assert adapters.weights == pytest.approx(2 * parameters(shape), rel=0.02)
    assert adapters.optimizer == 8 * adapter_parameters(shape, LoraConfig(rank=16))
    spread = training_memory(shape, 4096, "bfloat16", shards=8)
    assert spread.total - spread.activations == pytest.approx((whole.total - whole.activations) / 8)
    assert spread.activations == whole.activations, "each device reads rows of its own"
    assert whole.total == whole.weights + whole.gradients + whole.optimizer + whole.activations


def test_ppo_holds_five_models_and_with_adapters_one_base() -> None:
    shape = PRESETS["llama2-7b"]
    five = training_memory(shape, 1, "float32", trained=2, read=3)
    assert five.weights == 5 * 4 * parameters(shape)
    one = training_memory(shape, 1, "float32", trained=2, read=3, lora=LoraConfig())
    assert one.weights == 4 * parameters(shape) + 5 * 4 * adapter_parameters(shape, LoraConfig())


def test_checkpointing_keeps_the_inputs_of_blocks_alone() -> None:
    shape = PRESETS["llama2-7b"]
    kept = activation_bytes(shape, 4096, "bfloat16", checkpointing=True)
    assert kept < activation_bytes(shape, 4096, "bfloat16") / 4


def test_keys_and_values_by_hand() -> None:
    """Two blocks, one head of 4 for keys and one for values, 3 tokens, 4 bytes: 2 · 2 · 4 · 3 · 4 = 192. A 7B's are
    half a megabyte a token."""
    assert cache_bytes(LITTLE, 3, "float32") == 192
    assert cache_bytes(PRESETS["llama2-7b"], 1, "bfloat16") == 524_288


@pytest.mark.conformance("costs that the paper's own figures contradict", equation="models.costs:implied_utilisation")
@pytest.mark.parametrize(
    ("name", "hours", "utilisation"),
    [
        ("llama2-7b", 184_320, 0.391),
        ("llama2-13b", 368_640, 0.377),
        ("llama2-34b", 1_038_336, 0.347),
        ("llama2-70b", 1_720_320, 0.428),
    ],
)
def test_the_papers_hours_imply_what_large_trainings_reach(name: str, hours: float, utilisation: float) -> None:
    """6 N D of 2.0T tokens over hours · 3600 · 312e12. 7B: 6 · 6.738e9 · 2e12 = 8.086e22; 184,320 h are 2.070e23."""
    flops = 6 * parameters(PRESETS[name]) * 2.0e12
    assert implied_utilisation(flops, hours, PEAK_A100) == pytest.approx(utilisation, abs=5e-4)
    # with attention's products, at the mean context of rows of 4,096
    assert implied_utilisation(training_flops(PRESETS[name], 2e12, 2048), hours, PEAK_A100) < 0.45


@pytest.mark.conformance(
    "a speed that holds the warm-up, and a share of a machine that nobody measured",
    equation="models.costs:flops_per_token",
)
def test_the_operations_of_a_token_by_hand_after_palm() -> None:
    """Tied, N = 2 blocks of (8·8 + 2·8·4 + 8·8 + 3·8·16 + 2·8) + 10·8 + 8 = 2·592 + 88 = 1,272 weights; rows of 32
    tokens: 6·1,272 + 12·2·2·4·32 = 7,632 + 6,144. With a head of its own the embeddings are looked up: N is the same.
    """
    tied = replace(LITTLE, tie_embeddings=True)
    assert parameters(tied) == 1_272
    assert flops_per_token(tied, 32) == 7_632 + 6_144 == flops_per_token(LITTLE, 32)
    assert utilisation(1_000, 13_776, 100e6) == pytest.approx(0.13776)


def test_palms_operations_are_those_of_the_passes_with_whole_rows_but_for_the_norms() -> None:
    shape = PRESETS["llama2-7b"]
    norms = (2 * shape.num_layers + 1) * shape.hidden_size
    assert flops_per_token(shape, 4096) == training_flops(shape, 1, 4096) + 6 * norms
