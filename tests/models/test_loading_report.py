"""A folder that does not hold just the weights of its model is refused wherever it is opened."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from models.checkpoint import load_policy, load_reward, reward_from_policy
from models.config import LoraConfig

Weights = dict[str, torch.Tensor]

SPOILED: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "of a model with a value head": (
        lambda weights: {f"pretrained_model.{name}": weight for name, weight in weights.items()},
        "their names begin with 'pretrained_model.'",
    ),
    "of an adapter's wrapper": (
        lambda weights: {f"base_model.model.{name}": weight for name, weight in weights.items()},
        "their names begin with 'base_model.model.'",
    ),
    "of a compiled model": (
        lambda weights: {f"_orig_mod.{name}": weight for name, weight in weights.items()},
        "their names begin with '_orig_mod.'",
    ),
    "without a layer": (
        lambda weights: {name: weight for name, weight in weights.items() if ".layers.1." not in name},
        "weights of a .* are not there .model.layers.1.* and 6 more.; config.json and the safetensors",
    ),
    "with a layer too many": (
        lambda weights: {**weights, "model.layers.2.mlp.up_proj.weight": torch.zeros(64, 32)},
        "there are weights that a .* does not have .model.layers.2.mlp.up_proj.weight.",
    ),
}


def rewrite(source: Path, folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """A copy of a checkpoint with other weights."""
    shutil.copytree(source, folder)
    name = "adapter_model.safetensors" if (source / "adapter_config.json").exists() else "model.safetensors"
    save_file(change(load_file(source / name)), folder / name, metadata={"format": "pt"})
    return folder


@pytest.mark.conformance("weights that are not the model's", equation="models.loading_report:require_whole")
@pytest.mark.parametrize(("change", "message"), SPOILED.values(), ids=SPOILED)
def test_weights_that_are_not_the_models_are_refused_wherever_it_is_opened(
    tmp_path: Path, gqa_policy: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    folder = rewrite(gqa_policy, tmp_path / "spoiled", change)
    lora = LoraConfig(rank=2)
    for opening in (
        lambda: load_policy(folder),
        lambda: load_policy(folder, lora=lora),
        lambda: reward_from_policy(folder, None, lora=None, seed=1),
        lambda: reward_from_policy(folder, None, lora=lora, seed=1),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            opening()
        assert str(folder) in str(caught.value)


def test_a_policy_without_its_own_head_is_refused(tmp_path: Path, gqa_policy: Path) -> None:
    folder = rewrite(
        gqa_policy, tmp_path / "headless", lambda weights: {k: v for k, v in weights.items() if k != "lm_head.weight"}
    )
    with pytest.raises(ValueError, match=r"are not there \(lm_head.weight\)"):
        load_policy(folder)


def test_a_reward_model_is_no_policy_and_a_policy_no_reward_model(
    gqa_policy: Path, reward_folders: dict[str, Path]
) -> None:
    with pytest.raises(ValueError, match=r"score.weight.*this is a reward model or a classifier"):
        load_policy(reward_folders["gqa"])
    with pytest.raises(ValueError, match=r"are not there \(score.weight\)"):
        load_reward(gqa_policy)
    assert load_reward(reward_folders["gqa"]) is not None


@pytest.mark.parametrize("kind", ["policy", "helpfulness"])
def test_an_adapter_without_some_of_its_weights_is_refused(
    tmp_path: Path, adapter_folders: dict[str, Path], gqa_policy: Path, kind: str
) -> None:
    source = adapter_folders["gqa"] / kind
    folder = rewrite(
        source,
        tmp_path / "spoiled",
        lambda weights: {name: weight for name, weight in weights.items() if ".layers.1.mlp.up" not in name},
    )
    opening = load_policy if kind == "policy" else load_reward
    assert isinstance(opening(source, gqa_policy), PeftModel)
    with pytest.raises(ValueError, match=r"does not fit the base model: .*layers.1.mlp.up_proj"):
        opening(folder, gqa_policy)
