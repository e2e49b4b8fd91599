"""Checkpoints open in plain transformers and peft, without our code, and give the same outputs."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from models.checkpoint import (
    backbone,
    is_adapter,
    load_policy,
    load_reward,
    reward_from_policy,
    save_checkpoint,
    scalar_head,
)
from models.config import LoraConfig
from models.dialogue import Renderer
from models.scoring import last_token_scores
from models.tokenizer import load_tokenizer
from tests.models.conftest import stirred

IDS = torch.tensor([[1, 4, 20, 21, 22, 5, 50, 51, 2]])
LORA = LoraConfig(rank=4, alpha=8)


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    model.eval()
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


@torch.no_grad()
def score(model: nn.Module) -> torch.Tensor:
    model.eval()
    return last_token_scores(model, IDS, torch.ones_like(IDS))


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_policy_opens_in_plain_transformers(policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    model = stirred(load_policy(policy_folder, trainable=True))
    save_checkpoint(model, renderer.tokenizer, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(plain), logits(model))
    messages = [{"role": "user", "content": "Who keeps the lamp?"}]
    ids = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(messages, return_dict=True)["input_ids"]
    assert ids == renderer.prompt(messages)


def test_a_reward_model_opens_in_plain_transformers(policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    model = stirred(reward_from_policy(policy_folder, None, lora=None, seed=1))
    save_checkpoint(model, renderer.tokenizer, tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.config.num_labels == 1
    torch.testing.assert_close(logits(plain)[:, 0], score(model), rtol=0, atol=1e-6)  # its head reads all positions


def test_a_policy_adapter_opens_in_plain_peft(policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    model = stirred(load_policy(policy_folder, lora=LORA, trainable=True))
    save_checkpoint(model, renderer.tokenizer, tmp_path)
    assert is_adapter(tmp_path)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(policy_folder), tmp_path)
    assert torch.equal(logits(plain), logits(model))
    assert torch.equal(logits(load_policy(tmp_path, policy_folder)), logits(model))
    assert not torch.allclose(logits(model), logits(load_policy(policy_folder)), atol=0.01)


def test_a_reward_adapter_opens_in_plain_peft(policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    model = stirred(reward_from_policy(policy_folder, None, lora=LORA, seed=1))
    save_checkpoint(model, renderer.tokenizer, tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained(policy_folder, num_labels=1)
    plain = PeftModel.from_pretrained(base, tmp_path)
    torch.testing.assert_close(logits(plain)[:, 0], score(model), rtol=0, atol=1e-6)  # its head reads all positions
    assert torch.equal(score(load_reward(tmp_path, policy_folder)), score(model))


@pytest.mark.conformance("reference drifts", equation="models.checkpoint:load_policy")
def test_adapters_off_give_the_base(policy_folder: Path) -> None:
    model = stirred(load_policy(policy_folder, lora=LORA, trainable=True))
    assert isinstance(model, PeftModel)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(load_policy(policy_folder)))


def test_a_fresh_adapter_changes_no_output(policy_folder: Path) -> None:
    fresh = load_policy(policy_folder, lora=LORA, trainable=True)
    assert torch.equal(logits(fresh), logits(load_policy(policy_folder)))
    assert all("lora_" in name for name, parameter in fresh.named_parameters() if parameter.requires_grad)


def test_an_adapter_goes_on_training_as_one_adapter(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    save_checkpoint(stirred(load_policy(gqa_policy, lora=LORA, trainable=True)), renderer.tokenizer, tmp_path / "one")
    again = load_policy(tmp_path / "one", gqa_policy, lora=LORA, trainable=True)
    trainable = [name for name, parameter in again.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    save_checkpoint(stirred(again, seed=2), renderer.tokenizer, tmp_path / "two")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(gqa_policy), tmp_path / "two")
    assert torch.equal(logits(plain), logits(again))


@pytest.mark.conformance("value head start", equation="models.checkpoint:reward_from_policy")
def test_a_reward_model_starts_as_its_policy_with_every_score_zero(
    policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    save_checkpoint(stirred(load_policy(policy_folder, lora=LORA, trainable=True)), renderer.tokenizer, tmp_path)
    starts = (  # the last is an adapter that was trained before: the reward model goes on from it
        (reward_from_policy(policy_folder, None, lora=None, seed=1), load_policy(policy_folder)),
        (reward_from_policy(policy_folder, None, lora=LORA, seed=1), load_policy(policy_folder)),
        (reward_from_policy(tmp_path, policy_folder, lora=LORA, seed=1), load_policy(tmp_path, policy_folder)),
    )
    for reward, policy in starts:
        reward.eval()
        with torch.no_grad():
            assert torch.equal(
                backbone(reward)(input_ids=IDS).last_hidden_state, backbone(policy)(input_ids=IDS).last_hidden_state
            )
        assert score(reward).tolist() == [0.0]
        assert any(parameter.requires_grad for parameter in scalar_head(reward).parameters())


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapter"])
def test_the_saved_bytes_do_not_depend_on_the_place(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, lora: LoraConfig | None
) -> None:
    moved = tmp_path / "elsewhere" / "base"
    shutil.copytree(gqa_policy, moved)
    for base, out in ((gqa_policy, "one"), (moved, "deeper/two")):
        torch.manual_seed(3)  # peft draws fresh adapters from the global generator
        save_checkpoint(stirred(load_policy(base, lora=lora, trainable=True)), renderer.tokenizer, tmp_path / out)
        torch.manual_seed(3)
        reward = stirred(reward_from_policy(base, None, lora=lora, seed=1))
        save_checkpoint(reward, renderer.tokenizer, tmp_path / f"{out}-reward")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "deeper/two")
    assert hashes(tmp_path / "one-reward") == hashes(tmp_path / "deeper/two-reward")
    for path in tmp_path.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()
        assert str(gqa_policy) not in path.read_text()


def test_an_adapters_config_names_no_place_and_no_random_order(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """peft keeps the names of layers in a set, whose order changes from process to process."""
    save_checkpoint(load_policy(gqa_policy, lora=LORA, trainable=True), renderer.tokenizer, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(LORA.target_modules)
    assert config["base_model_name_or_path"] is None


def test_saving_again_what_was_opened_gives_the_same_bytes(gqa_policy: Path, tmp_path: Path) -> None:
    save_checkpoint(load_policy(gqa_policy), load_tokenizer(gqa_policy), tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(gqa_policy / "model.safetensors").keys()
    assert hashes(tmp_path)["model.safetensors"] == hashes(gqa_policy)["model.safetensors"]


def test_weights_that_are_no_safetensors_are_not_read(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    shutil.copytree(gqa_policy, whole)
    torch.save(load_file(whole / "model.safetensors"), whole / "pytorch_model.bin")
    (whole / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        load_policy(whole)

    save_checkpoint(load_policy(gqa_policy, lora=LORA, trainable=True), renderer.tokenizer, adapter)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors"):
        load_policy(adapter, gqa_policy)
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors"):
        reward_from_policy(adapter, gqa_policy, lora=LORA, seed=1)


def test_an_adapter_without_its_base_is_refused(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    save_checkpoint(load_policy(gqa_policy, lora=LORA, trainable=True), renderer.tokenizer, tmp_path)
    with pytest.raises(ValueError, match="needs its base model"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match="needs its base model"):
        load_reward(tmp_path)


def test_a_whole_reward_model_on_an_adapter_is_refused(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    save_checkpoint(load_policy(gqa_policy, lora=LORA, trainable=True), renderer.tokenizer, tmp_path)
    with pytest.raises(ValueError, match="need `lora` too"):
        reward_from_policy(tmp_path, gqa_policy, lora=None, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("other", [LoraConfig(rank=8, alpha=8), LoraConfig(rank=4, alpha=16)], ids=["rank", "alpha"])
def test_a_reward_adapter_unlike_its_policys_is_refused(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, other: LoraConfig
) -> None:
    """It would start as another model than the policy, without a word."""
    save_checkpoint(load_policy(gqa_policy, lora=LORA, trainable=True), renderer.tokenizer, tmp_path)
    with pytest.raises(ValueError, match="give them the same"):
        reward_from_policy(tmp_path, gqa_policy, lora=other, seed=1)


@pytest.mark.conformance("dropout in rollout or reference", equation="models.checkpoint:load_policy")
def test_a_frozen_model_has_nothing_to_train_and_does_not_drop(dropping_policy: Path) -> None:
    model = load_policy(dropping_policy)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_making_a_reward_model_leaves_the_global_generator_as_it_was(gqa_policy: Path) -> None:
    before = torch.get_rng_state()
    reward_from_policy(gqa_policy, None, lora=LORA, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
