"""The files of a checkpoint, known before there are weights, held against files that were really written."""

from pathlib import Path

import pytest
import torch
from peft import TaskType, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from models.checkpoint import load_policy, peft_config, reward_from_policy, save_checkpoint
from models.checkpoint_files import files_of
from models.config import LoraConfig
from models.dialogue import Renderer
from tests.models.families import FAMILIES, SHAPE

EXPERTS = ("Mixtral", "Qwen3-Next")


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}


@pytest.mark.conformance("a dry run that tells of other files", equation="models.checkpoint_files:files_of")
@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_sizes_without_weights_are_those_of_files_that_were_written(family: str, tmp_path: Path) -> None:
    """One file, and several. Experts that are views of one matrix stay together, which cannot be seen without it."""
    architecture, own = FAMILIES[family]
    config = AutoConfig.for_model(architecture, **{**SHAPE, "vocab_size": 300, "pad_token_id": 0, **own})
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    for most in ("50GB", "60kB"):
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / most, max_shard_size=most)
        found = written(tmp_path / most)
        if most == "50GB" or family not in EXPERTS:
            assert files_of(empty, most) == found
            assert (len(found) > 1) == (most == "60kB")


def test_a_checkpoint_of_ours_has_these_files_with_adapters_and_a_reward_head_too(
    policy_folders: dict[str, Path], renderer: Renderer, tmp_path: Path
) -> None:
    base = policy_folders["gqa"]
    models: dict[str, nn.Module] = {
        "policy": load_policy(base, trainable=True),
        "reward": reward_from_policy(base, None, lora=None, seed=1),
        "adapter": load_policy(base, lora=LoraConfig(rank=4), trainable=True),
        "adapted reward": reward_from_policy(base, None, lora=LoraConfig(rank=4), seed=1),
    }
    for name, model in models.items():
        save_checkpoint(model, renderer.tokenizer, tmp_path / name)
        assert files_of(model) == written(tmp_path / name), name
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(base)
        empty = get_peft_model(
            AutoModelForCausalLM.from_config(config), peft_config(LoraConfig(rank=4), TaskType.CAUSAL_LM)
        )
    assert files_of(empty) == written(tmp_path / "adapter")
