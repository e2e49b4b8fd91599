"""Training in bfloat16 learns what training in float32 learns: every trainer, whole models and adapters.

A weight of 0.2 in bfloat16 has its next neighbour 0.001 away, and a step at the paper's rates is 0.00002 or 0.000001.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from models.checkpoint import load_policy, reward_from_policy, scalar_head
from models.config import DPOConfig, PPOConfig, PretrainConfig, RewardConfig, SamplingConfig, SFTConfig
from models.dialogue import Renderer
from models.roles import Roles, open_roles
from models.training import dpo, ppo, reward, sft
from models.training.pretrain import pretrain
from models.training.reporting import Reporter
from tests.models.training.little_runs import (
    ANSWERS,
    LITTLE,
    LORA,
    QUESTIONS,
    Recorder,
    dialogues,
    pairs,
    preferences,
    prompts,
)

WAYS = ("whole", "adapters")
Training = tuple[nn.Module, Callable[[Path, Recorder], Any]]  # what is trained, and what trains it


@dataclass(frozen=True)
class Models:
    """A base with reward models, and adapters for all of them."""

    base: Path
    reward: Path
    adapters: Path

    def roles(self, way: str, dtype: str) -> Roles:
        if way == "whole":
            return open_roles(
                policy=self.base, safety=self.reward, helpfulness=self.reward, base=None, lora=None, dtype=dtype
            )
        folders = {name: self.adapters / name for name in ("policy", "safety", "helpfulness")}
        return open_roles(**folders, base=self.base, lora=LORA, dtype=dtype)

    def policy(self, way: str, dtype: str) -> nn.Module:
        if way == "whole":
            return load_policy(self.base, trainable=True, dtype=dtype)
        return load_policy(self.adapters / "policy", self.base, trainable=True, dtype=dtype)

    def reward_model(self, way: str, dtype: str) -> nn.Module:
        source = self.base if way == "whole" else self.adapters / "policy"
        lora = None if way == "whole" else LORA
        model = reward_from_policy(source, self.base, lora=lora, seed=1, dtype=dtype)
        with torch.no_grad():  # a head of 0 gives the body no gradient
            scalar_head(model).weight.normal_(generator=torch.Generator().manual_seed(5))
        return model


@pytest.fixture
def models(gqa_policy: Path, reward_folders: dict[str, Path], adapter_folders: dict[str, Path]) -> Models:
    return Models(gqa_policy, reward_folders["gqa"], adapter_folders["gqa"])


def places(folder: Path, reporter: Reporter) -> dict[str, Any]:
    return {"out": folder / "out", "work": folder / "work", "seed": 3, "reporter": reporter}


def of_sft(models: Models, renderer: Renderer, way: str, dtype: str, **changes: Any) -> Training:
    model = models.policy(way, dtype)
    config = SFTConfig(
        **{
            "learning_rate": 2e-5,
            "batch_size": 2,
            "sequence_length": 64,
            "warmup_ratio": 0.0,
            "dtype": dtype,
            **changes,
        }
    )
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    return model, lambda folder, heard: sft.fine_tune(model, rendered, renderer, config, **places(folder, heard))


def of_reward(models: Models, renderer: Renderer, way: str, dtype: str, **changes: Any) -> Training:
    model = models.reward_model(way, dtype)
    config = RewardConfig(
        **{
            "learning_rate": 1e-5, "batch_size": 2, "epochs": 2, "min_warmup_steps": 1, "max_length": 128,
            "dtype": dtype, **changes,
        }
    )  # fmt: skip
    rows = pairs(renderer)
    return model, lambda folder, heard: reward.train_reward(
        model, rows, renderer, config, safety=True, **places(folder, heard)
    )


def of_dpo(models: Models, renderer: Renderer, way: str, dtype: str, **changes: Any) -> Training:
    model = models.policy(way, dtype)
    config = DPOConfig(
        **{
            "learning_rate": 1e-5, "batch_size": 2, "epochs": 2, "warmup_ratio": 0.0, "validate_every": 9,
            "sampling": SamplingConfig(max_new_tokens=6), "dtype": dtype, **changes,
        }
    )  # fmt: skip
    rows = preferences(renderer)
    return model, lambda folder, heard: dpo.train_dpo(model, rows, rows, renderer, config, **places(folder, heard))


def of_ppo(models: Models, renderer: Renderer, way: str, dtype: str, **changes: Any) -> Training:
    roles = models.roles(way, dtype)
    config = PPOConfig(
        **{
            "learning_rate": 1e-6, "iterations": 2, "batch_size": 8, "mini_batch_size": 4, "validate_every": 2,
            "kl_limit": 1e6, "min_entropy": 0.0, "dtype": dtype,
            "sampling": SamplingConfig(temperature=1.3, max_new_tokens=6, batch_size=8), **changes,
        }
    )  # fmt: skip
    asked = prompts(renderer)
    return roles.policy, lambda folder, heard: ppo.train_ppo(
        roles, asked, asked[:4], renderer, config, **places(folder, heard)
    )


TRAINERS = {"sft": of_sft, "reward": of_reward, "dpo": of_dpo, "ppo": of_ppo}
LOSSES = {"sft": "sft/loss", "reward": "reward/loss", "dpo": "dpo/loss", "ppo": "ppo/value_loss"}


def trained(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Share of the weights that are others now, of those that are not 0 and so lie dense in any precision."""
    changed = [(before[name] != after[name])[before[name] != 0] for name in before]
    return float(torch.cat([each.flatten() for each in changed]).float().mean())


@pytest.mark.slow
@pytest.mark.conformance("a step too small for the weights' precision", equation="models.checkpoint:load_policy")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_in_bfloat16_as_many_weights_move_at_the_papers_rates_and_the_loss_is_the_same(
    models: Models, renderer: Renderer, tmp_path: Path, trainer: str, way: str
) -> None:
    share, loss = {}, {}
    for dtype in ("float32", "bfloat16"):
        model, train = TRAINERS[trainer](models, renderer, way, dtype)
        before, heard = trained(model), Recorder()
        train(tmp_path / dtype, heard)
        share[dtype], loss[dtype] = moved(before, trained(model)), heard.curve(LOSSES[trainer])[-1]
    assert share["float32"] > 0.7, "some gradients are 0"
    assert share["bfloat16"] >= 0.99 * share["float32"]
    # in PPO each precision draws eight answers of its own
    assert loss["bfloat16"] == pytest.approx(loss["float32"], rel=0.3 if trainer == "ppo" else 0.05)


@pytest.mark.slow
@pytest.mark.conformance("a step too small for the weights' precision", equation="models.training.pretrain:pretrain")
def test_pretraining_in_bfloat16_writes_float32_weights_all_of_which_moved(renderer: Renderer, tmp_path: Path) -> None:
    texts = [f"{question} {answer}"[:18] for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    found = {}
    for dtype, steps in (("float32", 1), ("float32", 5), ("bfloat16", 1), ("bfloat16", 5)):
        config = PretrainConfig(
            learning_rate=2e-5, batch_size=2, max_steps=steps, warmup_steps=0, sequence_length=40, dtype=dtype
        )
        folder = tmp_path / f"{dtype}-{steps}"
        pretrain(texts, renderer, LITTLE, config, **places(folder, Recorder()))
        found[dtype, steps] = load_file(folder / "out" / "model.safetensors")
    assert all(weight.dtype == torch.float32 for each in found.values() for weight in each.values())
    share = {dtype: moved(found[dtype, 1], found[dtype, 5]) for dtype in ("float32", "bfloat16")}
    assert share["bfloat16"] >= 0.99 * share["float32"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_products_are_in_the_configs_precision_and_what_is_trained_is_held_and_saved_in_float32(
    models: Models, renderer: Renderer, tmp_path: Path, trainer: str, way: str, dtype: str
) -> None:
    """Looked at in each forward pass of the policy or reward model that has a gradient."""
    model, train = TRAINERS[trainer](models, renderer, way, dtype)
    seen = set()

    def look(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            seen.add(output.dtype)

    for name, module in model.named_modules():
        if name.endswith(("q_proj", "down_proj")):
            module.register_forward_hook(look)
    train(tmp_path, Recorder())
    assert seen == {getattr(torch, dtype)}
    assert {weight.dtype for weight in trained(model).values()} == {torch.float32}
    frozen = {p.dtype for name, p in model.named_parameters() if not p.requires_grad and "score" not in name}
    assert frozen == ({getattr(torch, dtype)} if way == "adapters" else set())
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert {weight.dtype for weight in load_file(file).values()} == {torch.float32}


@pytest.mark.conformance("sampled in one precision, scored in another", equation="models.training.ppo:train_ppo")
@pytest.mark.parametrize("way", WAYS)
def test_in_bfloat16_the_first_ratio_is_one_and_the_first_distance_to_the_reference_exactly_zero(
    models: Models, renderer: Renderer, tmp_path: Path, way: str
) -> None:
    heard = Recorder()
    changes = {"iterations": 1, "batch_size": 8, "mini_batch_size": 8}
    _, train = of_ppo(models, renderer, way, "bfloat16", **changes)
    train(tmp_path, heard)
    for name in ("ppo/ratio_mean", "ppo/ratio_max"):
        assert heard.curve(name) == [pytest.approx(1, abs=2e-3)]
    assert heard.curve("ppo/kl") == heard.curve("ppo/validation_kl")[:1] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_scalar_heads_are_float32_and_never_rounded_also_where_the_rest_is_bfloat16(models: Models, way: str) -> None:
    exact = models.roles(way, "float32")
    rounded = models.roles(way, "bfloat16")
    for role in ("value", "safety", "helpfulness"):
        ours, theirs = (scalar_head(getattr(roles, role)).weight for roles in (rounded, exact))
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)
    body = {p.dtype for name, p in rounded.safety.named_parameters() if "score" not in name and "lora" not in name}
    assert body == {torch.bfloat16}


def test_an_adapter_opens_to_the_bit_on_a_base_in_bfloat16(models: Models) -> None:
    exact, rounded = (load_policy(models.adapters / "policy", models.base, dtype=d) for d in ("float32", "bfloat16"))
    theirs = dict(exact.named_parameters())
    adapters = {name: weight for name, weight in rounded.named_parameters() if "lora_" in name}
    assert adapters
    assert all(torch.equal(weight, theirs[name]) for name, weight in adapters.items())


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_with_gradient_checkpointing_layers_are_computed_again_and_the_weights_come_out_the_same(
    models: Models, renderer: Renderer, tmp_path: Path, trainer: str, way: str, dtype: str
) -> None:
    """Whole trainings: packed rows in SFT, prefix trees in reward models and DPO, both models of PPO."""
    found, calls = {}, {}
    for on in (False, True):
        model, train = TRAINERS[trainer](models, renderer, way, dtype, gradient_checkpointing=on, learning_rate=1e-3)
        counted = [0]

        def count(_: nn.Module, __: Any, counted: list[int] = counted) -> None:
            counted[0] += torch.is_grad_enabled()

        for name, module in model.named_modules():
            if name.endswith("layers.0.mlp"):
                module.register_forward_pre_hook(count)
        train(tmp_path / str(on), Recorder())
        found[on], calls[on] = trained(model), counted[0]
    assert calls[True] == 2 * calls[False] > 0
    for name, weight in found[False].items():
        assert torch.equal(found[True][name], weight), name
