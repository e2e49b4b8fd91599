"""Weights on bfloat16's grid are spread inside their rounding before they are trained under bfloat16 products."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.checkpoint import load_policy, load_reward, reward_from_policy, save_checkpoint, scalar_head
from models.config import SFTConfig
from models.devices import autocast
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.roles import Roles, open_roles
from models.rounding import spread, spread_in_rounding
from models.training.sft import fine_tune
from tests.models.families import FAMILIES, build
from tests.models.training.little_runs import LORA, Recorder, dialogues

Dtype = Literal["float32", "bfloat16"]


def on_grid(source: Path, folder: Path) -> Path:
    """The checkpoint with every weight rounded to bfloat16, in a file of float32."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(source / "model.safetensors")
    save_file({k: w.bfloat16().float() for k, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def rounded(gqa_policy: Path, tmp_path: Path) -> Path:
    return on_grid(gqa_policy, tmp_path / "policy")


@pytest.fixture
def rounded_reward(reward_folders: dict[str, Path], tmp_path: Path) -> Path:
    return on_grid(reward_folders["gqa"], tmp_path / "reward")


def bits(weights: torch.Tensor) -> torch.Tensor:
    return weights.view(torch.int16 if weights.dtype == torch.bfloat16 else torch.int32)


@pytest.mark.parametrize("seed", range(20))
def test_every_number_of_bfloat16_is_what_its_spread_rounds_to(seed: int) -> None:
    """All that are finite: both signs, even and odd, powers of two, the smallest and the largest."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    every = every[every.isfinite()]
    moved = spread(every.float(), seed)
    assert moved.dtype == torch.float32
    assert torch.equal(bits(moved.bfloat16()), bits(every))
    stays = every.abs() <= torch.finfo(torch.bfloat16).tiny
    assert torch.equal(bits(moved)[stays], bits(every.float())[stays])
    assert (moved != every.float())[~stays].float().mean() > 0.999


@pytest.mark.parametrize("weight", [0.02001953125, -0.02001953125, 0.0201416015625, 1.0, -0.25])
def test_a_step_much_smaller_than_the_grid_is_taken_by_the_rounded_weights_on_average(weight: float) -> None:
    """A tenth of the distance to the upper neighbour, in both directions, also where the lower one is half as far."""
    here = torch.tensor(weight)
    assert here.bfloat16().float() == here
    distance = 2.0 ** (torch.log2(here.abs()).floor() - 7)
    many = spread(here.repeat(200_000), 1)
    assert many.unique().numel() > 50_000
    for step in (0.1 * distance, -0.1 * distance):
        taken = (many + step).bfloat16().float().double().mean() - weight
        assert taken == pytest.approx(float(step), rel=0.05)
        assert (here + step).bfloat16() == here, "without the spread"


def test_the_numbers_belong_to_the_seed_and_are_others_for_each() -> None:
    weights = torch.full((3, 50), 0.5)
    assert torch.equal(spread(weights, 1), spread(weights, 1))
    assert not torch.equal(spread(weights, 1), spread(weights, 2))
    assert spread(weights, 1).shape == weights.shape


@pytest.mark.parametrize("family", FAMILIES)
def test_under_bfloat16_a_forward_pass_stays_the_same_to_the_bit_in_every_family(
    family: str, renderer: Renderer
) -> None:
    model = build(family, renderer.tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    ids = torch.tensor([renderer.dialogue(messages).input_ids[:8] for messages in dialogues()])

    def logits() -> torch.Tensor:
        with torch.no_grad(), autocast("bfloat16"):
            found: torch.Tensor = model(ids, use_cache=False).logits
        return found

    before, weights = logits(), {name: p.detach().clone() for name, p in model.named_parameters()}
    spread_in_rounding(model)
    assert torch.equal(logits(), before)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, weights[name])}
    assert any("attn" in name or "attention" in name or "mixer" in name or "mamba" in name for name in changed)
    assert all(weights[name].dim() == 2 and "embed" not in name for name in changed)


def test_a_tensor_with_one_weight_off_the_grid_stays_as_it_is(rounded: Path) -> None:
    model = load_policy(rounded, trainable=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    off = "model.layers.0.mlp.down_proj.weight"
    with torch.no_grad():
        model.get_parameter(off)[3, 5] = 0.1
    before[off][3, 5] = 0.1
    spread_in_rounding(model)
    assert torch.equal(model.get_parameter(off), before[off])
    other = "model.layers.1.mlp.down_proj.weight"
    assert not torch.equal(model.get_parameter(other), before[other])


WHOLE: dict[str, Callable[[Path, Path, str], nn.Module]] = {
    "policy": lambda policy, _, dtype: load_policy(policy, trainable=True, dtype=dtype),
    "new reward model": lambda policy, _, dtype: reward_from_policy(policy, None, lora=None, seed=1, dtype=dtype),
    "reward model": lambda _, reward, dtype: load_reward(reward, trainable=True, dtype=dtype),
    "PPO's policy": lambda policy, reward, dtype: roles(policy, reward, dtype).policy,
    "PPO's value model": lambda policy, reward, dtype: roles(policy, reward, dtype).value,
}


def roles(policy: Path, reward: Path, dtype: str) -> Roles:
    return open_roles(policy=policy, safety=reward, helpfulness=reward, base=None, lora=None, dtype=dtype)


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_models_that_are_trained_in_bfloat16_open_spread_and_their_heads_to_the_bit(
    rounded: Path, rounded_reward: Path, kind: str
) -> None:
    opened = {dtype: WHOLE[kind](rounded, rounded_reward, dtype) for dtype in ("float32", "bfloat16")}
    plain, moved = (dict(opened[dtype].named_parameters()) for dtype in ("float32", "bfloat16"))
    for name, weight in moved.items():
        assert torch.equal(weight.bfloat16(), plain[name].bfloat16()), name
        kept = any(part in name for part in ("norm", "embed", "score"))
        assert torch.equal(weight, plain[name]) == kept, name
    if "policy" not in kind:
        assert torch.equal(scalar_head(opened["bfloat16"]).weight, scalar_head(opened["float32"]).weight)


def test_what_is_read_or_carries_adapters_opens_to_the_bit(rounded: Path, rounded_reward: Path) -> None:
    weights, reward = load_file(rounded / "model.safetensors"), load_file(rounded_reward / "model.safetensors")
    opened = roles(rounded, rounded_reward, "bfloat16")
    for model, file in (
        (load_policy(rounded, trainable=True), weights),
        (load_policy(rounded, dtype="bfloat16"), weights),
        (opened.reference, weights),
        (opened.safety, reward),
        (load_policy(rounded, lora=LORA, trainable=True, dtype="bfloat16"), weights),
    ):
        found = {
            name.replace("base_model.model.", "").replace(".base_layer", ""): p for name, p in model.named_parameters()
        }
        for name, weight in file.items():
            assert torch.equal(found[name].float(), weight), name


@pytest.mark.slow
@pytest.mark.conformance("a step too small for the weights' precision", equation="models.rounding:spread_in_rounding")
def test_from_a_base_on_the_grid_sft_in_bfloat16_has_the_loss_curve_of_float32(
    renderer: Renderer, tmp_path: Path
) -> None:
    """Steps of 0.0001 on weights of 0.3, whose neighbours are 0.002 away. Unspread, the same training lags behind."""
    base, ends = tmp_path / "base", (renderer.tokenizer.bos_token_id, renderer.tokenizer.eos_token_id)
    shape = Architecture(128, 2, 4, 2, 256, 128, vocab_size=len(renderer.tokenizer), initializer_range=0.3)
    model = build_llama(shape, 7, renderer.pad_id, *ends)
    save_checkpoint(model.bfloat16(), renderer.tokenizer, base)
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    curves = {}
    for way in ("float32", "bfloat16", "unspread"):
        dtype: Dtype = "float32" if way == "float32" else "bfloat16"
        model = load_policy(base, trainable=True, dtype="float32" if way == "unspread" else dtype)
        config = SFTConfig(
            learning_rate=1e-4, batch_size=2, sequence_length=64, epochs=15, warmup_ratio=0.0, dtype=dtype
        )
        heard, out = Recorder(), tmp_path / way / "out"
        fine_tune(model, rendered, renderer, config, out=out, work=tmp_path / way / "work", seed=3, reporter=heard)
        curves[way] = heard.curve("sft/loss")
        assert {weight.dtype for weight in load_file(out / "model.safetensors").values()} == {torch.float32}
    assert curves["bfloat16"] == pytest.approx(curves["float32"], rel=0.01)
    assert all(late > 1.02 * plain for late, plain in zip(curves["unspread"][1:], curves["float32"][1:], strict=True))


def test_the_first_distance_of_ppos_policy_to_its_reference_is_zero_from_a_base_on_the_grid(
    rounded: Path, rounded_reward: Path, renderer: Renderer
) -> None:
    opened = roles(rounded, rounded_reward, "bfloat16")
    ids = torch.tensor([renderer.dialogue(messages).input_ids[:8] for messages in dialogues()])
    with torch.no_grad(), autocast("bfloat16"):
        assert torch.equal(opened.policy(ids).logits, opened.reference(ids).logits)
