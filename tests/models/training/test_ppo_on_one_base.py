"""PPO with all roles on one base is PPO with five models of their own, to the bit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from models.checkpoint import load_policy, save_checkpoint
from models.config import PPOConfig, SamplingConfig
from models.dialogue import Renderer
from models.training import ppo, ppo_update
from tests.models.test_roles import on_five_bases, on_one_base
from tests.models.training.little_runs import Recorder, ppo_with, prompts

IDS = torch.tensor([[1, 4, 20, 21, 22, 5, 50, 51]])
FROZEN = ("reference", "safety", "helpfulness")


@pytest.fixture
def adapters(heads: str, adapter_folders: dict[str, Path]) -> Path:
    return adapter_folders[heads]


def digest(tensors: dict[str, torch.Tensor]) -> str:
    text = b"".join(name.encode() + value.contiguous().numpy().tobytes() for name, value in sorted(tensors.items()))
    return hashlib.sha256(text).hexdigest()


def frozen_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters() if not parameter.requires_grad}


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_rollouts_losses_and_gradients_are_those_of_five_models_to_the_bit(
    adapters: Path, policy_folder: Path, renderer: Renderer
) -> None:
    config = PPOConfig(
        batch_size=8, mini_batch_size=4, kl_coef=0.3, epochs=2,
        sampling=SamplingConfig(temperature=1.3, max_new_tokens=6, batch_size=4),
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    for opened in (on_one_base, on_five_bases):
        roles = opened(adapters, policy_folder)
        accelerator = Accelerator(cpu=True)
        rollouts, stats = ppo._roll_out(roles, prompts(renderer), renderer, config, accelerator, seed=5)
        losses = ppo_update._accumulate(roles, rollouts, torch.tensor([1, 4, 6]), 20, renderer, accelerator, config)
        gradients = {
            f"{role} {name}": parameter.grad
            for role, model in roles.trained.items()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }
        tensors = {name: value for name, value in vars(rollouts).items() if isinstance(value, torch.Tensor)}
        found.append(
            {"tensors": tensors, "answers": rollouts.responses, "numbers": stats | losses, "gradients": gradients}
        )
    one, five = found
    assert one["numbers"] == five["numbers"]
    assert one["answers"] == five["answers"]
    for kind in ("tensors", "gradients"):
        assert one[kind].keys() == five[kind].keys()
        for name, tensor in five[kind].items():
            assert torch.equal(one[kind][name], tensor), name
    assert one["numbers"]["kl"] == pytest.approx(0, abs=1e-5)
    assert one["tensors"]["scores"].std() > 0.01
    assert all("lora_" in name or name.startswith("value") for name in one["gradients"])


@pytest.mark.slow
def test_a_run_writes_the_same_policy_and_changes_neither_the_base_nor_what_is_frozen(
    adapters: Path, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    results = []
    for name, opened in (("one", on_one_base), ("five", on_five_bases)):
        roles, recorder, folder = opened(adapters, policy_folder), Recorder(), tmp_path / name
        before = {role: digest(getattr(roles, role).state_dict()) for role in FROZEN}
        base = {role: digest(frozen_weights(model)) for role, model in roles.trained.items()}
        start = {role: digest(model.state_dict()) for role, model in roles.trained.items()}
        metrics = ppo_with(
            roles, renderer, folder / "out", folder / "work", recorder, checkpoint_seconds=1e-6, iterations=3,
            learning_rate=1e-2, batch_size=8, mini_batch_size=4, epochs=2,
        )  # fmt: skip
        assert {role: digest(getattr(roles, role).state_dict()) for role in FROZEN} == before
        assert {role: digest(frozen_weights(model)) for role, model in roles.trained.items()} == base
        for role, model in roles.trained.items():
            assert digest(model.state_dict()) != start[role]
        in_memory = metrics.pop("weights_mb")
        assert in_memory == roles.weight_bytes() / 1e6
        last = files(folder / "work" / "checkpoint-3")
        last = {file: text for file, text in last.items() if file.startswith(("policy.", "value."))}  # no random states
        results.append((metrics, recorder.metrics, files(folder / "out"), last, in_memory))
    one, five = results
    assert len(one[3]) == 6
    assert one[:4] == five[:4]
    assert one[4] < five[4] / 2


def test_a_checkpoint_of_the_run_holds_what_learns_and_nothing_else(
    adapters: Path, policy_folder: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    roles = on_one_base(adapters, policy_folder)
    ppo_with(roles, renderer, tmp_path / "out", tmp_path / "work", recorder, checkpoint_seconds=1e-6, iterations=1)
    folder = tmp_path / "work" / "checkpoint-1"
    for role, model in roles.trained.items():
        weights = load_file(folder / f"{role}.safetensors")
        assert weights.keys() == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert all("lora_" in name or (role == "value" and "score" in name) for name in weights)
        state = load_file(folder / f"{role}.optimizer.safetensors")
        assert len([name for name in state if name.endswith("exp_avg")]) == len(weights)
        [group] = json.loads((folder / f"{role}.optimizer.json").read_text())
        assert len(group["params"]) == len(weights)
    assert all(parameter.grad is None for model in roles.models for parameter in model.parameters())


@pytest.mark.slow
def test_the_policies_of_a_run_open_in_plain_peft(
    adapters: Path, policy_folder: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    """The best one, which the run wrote, and the last one."""
    roles = on_one_base(adapters, policy_folder)
    ppo_with(roles, renderer, tmp_path / "out", tmp_path / "work", recorder, iterations=2, learning_rate=3e-2)
    save_checkpoint(roles.policy, renderer.tokenizer, tmp_path / "last")
    for folder in ("out", "last"):
        base = AutoModelForCausalLM.from_pretrained(policy_folder)
        plain = PeftModel.from_pretrained(base, tmp_path / folder).eval()
        with torch.no_grad():
            found = plain(input_ids=IDS).logits
            assert torch.equal(found, load_policy(tmp_path / folder, policy_folder)(input_ids=IDS).logits)
        assert files(tmp_path / folder).keys() == files(adapters / "policy").keys()
        config = json.loads((tmp_path / folder / "adapter_config.json").read_text())
        assert config == json.loads((adapters / "policy" / "adapter_config.json").read_text())
    with torch.no_grad():
        assert torch.equal(found, roles.policy.eval()(input_ids=IDS).logits)
        assert not torch.allclose(found, roles.reference(input_ids=IDS).logits, atol=0.01)
