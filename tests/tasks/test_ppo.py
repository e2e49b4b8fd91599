"""The PPO step with whole models and with adapters on one base."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import is_adapter, load_policy, reward_from_policy, save_checkpoint
from models.config import LoraConfig, PPOConfig, SamplingConfig, TokenizerConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture
from models.samplers.config import VllmConfig
from models.tokenizer import load_tokenizer, train_tokenizer
from tasks.engine.step import Output
from tasks.ppo import PPOStepConfig, ppo
from tasks.sampling import policy_server
from tests.tasks.bench import step_run
from tests.vllm import SAMPLER

WORDS = "the llama eats green grass and never spits at people who ask it to be kind"
PROGRAM = Path(__file__).resolve().parents[1] / "models" / "samplers" / "torch_server.py"
LORA = LoraConfig(rank=2, alpha=4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, `whole-reward`, and on the base the adapters `policy` and `reward`."""
    folder = tmp_path_factory.mktemp("models")
    texts = [" ".join(WORDS.split()[i:]) for i in range(12)] * 20
    train_tokenizer(texts, folder / "tokenizer", TokenizerConfig(vocab_size=320, character_coverage=1.0), seed=1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    renderer = Renderer(tokenizer)
    shape = Architecture(16, 1, 2, 1, 32, context_length=64, vocab_size=len(tokenizer))
    save_checkpoint(
        build_llama(shape, 1, renderer.pad_id, 1, renderer.tokenizer.eos_token_id), tokenizer, folder / "base"
    )
    torch.manual_seed(1)
    save_checkpoint(load_policy(folder / "base", lora=LORA, trainable=True), tokenizer, folder / "policy")
    for name, policy, lora in (("reward", "policy", LORA), ("whole-reward", "base", None)):
        model = reward_from_policy(folder / policy, folder / "base", lora=lora, seed=2)
        save_checkpoint(model, tokenizer, folder / name)
    return folder


def prompt_rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": f"{split} {axis} {i}", "source": "made", "kind": "made", "axis": axis, "split": split,
            "messages": [{"role": "user", "content": " ".join(WORDS.split()[i : i + 3])}],
        }
        for split in ("train", "validation") for axis in ("safety", "helpfulness") for i in range(3)
    ]  # fmt: skip


def megabytes(file: Path) -> float:
    return sum(weight.numel() * weight.element_size() for weight in load_file(file).values()) / 1e6


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole models", "adapters"])
def test_the_step_holds_five_models_or_one_base_and_writes_what_it_was_given(
    models: Path, tmp_path: Path, lora: LoraConfig | None
) -> None:
    config = PPOConfig(
        iterations=1, batch_size=4, mini_batch_size=2, validation_prompts=2, kl_limit=1e6, min_entropy=0.0,
        sampling=SamplingConfig(max_new_tokens=4),
    )  # fmt: skip
    policy, reward = (
        (models / "base", models / "whole-reward") if lora is None else (models / "policy", models / "reward")
    )
    inputs: dict[str, Any] = {"policy": policy, "safety_reward": reward, "helpfulness_reward": reward}
    inputs |= {"prompts": ("prompt", prompt_rows())} | ({"base": models / "base"} if lora else {})
    run = step_run(tmp_path, inputs=inputs, outputs={"policy": Output("model")})
    metrics = ppo.function(run, PPOStepConfig(training=config, lora=lora))
    assert metrics["iterations"] == 1.0
    written = run.output("policy")
    assert is_adapter(written) == (lora is not None)
    load_policy(written, models / "base" if lora else None)
    base = megabytes(models / "base" / "model.safetensors")
    if lora is None:
        expected = 2 * base + 3 * megabytes(reward / "model.safetensors")
    else:
        adapters = [megabytes(folder / "adapter_model.safetensors") for folder in (policy, reward)]
        expected = base + 2 * adapters[0] + 3 * adapters[1] + 3 * 16 * 4 / 1e6  # three heads of the base beside them
    assert metrics["weights_mb"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_the_step_has_its_answers_drawn_by_a_server_that_goes_with_it(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PPOConfig(
        iterations=1, batch_size=4, mini_batch_size=2, validation_prompts=2, kl_limit=1e6, min_entropy=0.0,
        sampling=SamplingConfig.model_validate({"max_new_tokens": 4, "sampler": SAMPLER, "batch_size": 1}),
    )  # fmt: skip
    inputs: dict[str, Any] = {"policy": models / "policy", "prompts": ("prompt", prompt_rows())}
    inputs |= {"safety_reward": models / "reward", "helpfulness_reward": models / "reward", "base": models / "base"}
    server = VllmConfig(command=(sys.executable, str(PROGRAM), "serve"))
    run = step_run(tmp_path, inputs=inputs, outputs={"policy": Output("model")}, vllm=server)
    metrics = ppo.function(run, PPOStepConfig(training=config, lora=LORA))
    assert 0 <= metrics["sampler_gap"] <= metrics["sampler_gap_max"] < 1e-4
    assert metrics["sampler_weighted"] == 0
    assert capsys.readouterr().out.count("vLLM: given halter-policy-") == 3, "two looks and an iteration"
    load_policy(run.output("policy"), models / "base")


def test_a_sampler_of_which_nothing_tells_how_it_is_reached_is_refused(tmp_path: Path) -> None:
    config = PPOConfig(sampling=SamplingConfig.model_validate({"sampler": SAMPLER}))
    with pytest.raises(ValueError, match="needs the section vllm"), policy_server(step_run(tmp_path), config):
        pass
