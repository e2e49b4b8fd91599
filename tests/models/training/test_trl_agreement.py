"""Our losses beside TRL's own trainers, on the same tokens and the same weights. Where both agree with the numbers by
hand of the other tests, a difference here would be a misunderstanding of theirs or ours."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Trainer
from trl import DPOConfig, DPOTrainer, RewardTrainer, SFTTrainer
from trl import RewardConfig as TrlRewardConfig
from trl import SFTConfig as TrlSFTConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference as DPOCollator
from trl.trainer.reward_trainer import DataCollatorForPreference as RewardCollator
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from models.algorithms.dpo import dpo_loss
from models.algorithms.ranking import margin_from_rating
from models.checkpoint import load_policy, reward_from_policy
from models.config import RewardConfig, SFTConfig
from models.dialogue import Renderer
from models.scoring import lay_out, response_logprobs
from models.training import reward, sft
from models.training.reporting import Quiet
from models.training.reward import train_reward
from models.training.sft import fine_tune
from tests.models.training.first_step import first_step
from tests.models.training.little_runs import dialogues, pairs

Build = Callable[[ModuleType, Callable[[], object]], Trainer]


class PlainSFT(SFTTrainer):  # type: ignore[misc]  # TRL has no types
    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


class PlainReward(RewardTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


class PlainDPO(DPOTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


def arguments(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"), "use_cpu": True, "report_to": "none", "max_length": None, "bf16": False,
        "gradient_checkpointing": False, "disable_tqdm": True,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.conformance("labels shifted once too often", equation="models.training.packing:pack")
def test_sft_loss_equals_trls(build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    """Packed and labelled by us; padded, one dialogue a row, by TRL."""
    rendered = [renderer.dialogue(messages) for messages in dialogues()]
    config = SFTConfig(learning_rate=1e-2, batch_size=4, epochs=1, sequence_length=64)
    ours = build(
        sft,
        lambda: fine_tune(
            load_policy(policy_folder, trainable=True), rendered, renderer, config,
            out=tmp_path / "out", work=tmp_path / "work", seed=3, reporter=Quiet(),
        ),
    )  # fmt: skip
    assert len(ours.train_dataset) <= 4 < len(rendered)
    model = load_policy(policy_folder, trainable=True)
    model.load_state_dict(ours.model.state_dict())
    rows = [
        {
            "input_ids": dialogue.input_ids,
            "labels": [
                token if counts else -100 for token, counts in zip(dialogue.input_ids, dialogue.loss_mask, strict=True)
            ],
        }
        for dialogue in rendered
    ]
    theirs = PlainSFT(
        model=model,
        args=TrlSFTConfig(**arguments(tmp_path), loss_type="nll", dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_list(rows),
        processing_class=renderer.tokenizer,
    )
    with torch.no_grad():
        expected = theirs.compute_loss(theirs.model, DataCollatorForLanguageModeling(renderer.pad_id)(rows))
    loss, _ = first_step(ours)
    assert loss == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.conformance("margin", equation="models.algorithms.ranking:ranking_loss")
def test_reward_loss_with_margin_equals_trls(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    judged = pairs(renderer)
    config = RewardConfig(learning_rate=5e-3, batch_size=4, min_warmup_steps=0, max_length=128, margins="large")
    ours = build(
        reward,
        lambda: train_reward(
            reward_from_policy(policy_folder, None, lora=None, seed=3), judged, renderer, config, safety=False,
            out=tmp_path / "out", work=tmp_path / "work", seed=3, reporter=Quiet(),
        ),
    )  # fmt: skip
    model = reward_from_policy(policy_folder, None, lora=None, seed=4)
    model.load_state_dict(ours.model.state_dict())
    rows = [
        {
            "chosen_ids": pair.chosen_ids,
            "rejected_ids": pair.rejected_ids,
            "margin": margin_from_rating(pair.rating, "large"),
        }
        for pair in judged
    ]
    theirs = PlainReward(
        model=model,
        args=TrlRewardConfig(**arguments(tmp_path)),
        train_dataset=Dataset.from_list(rows),
        processing_class=renderer.tokenizer,
    )
    with torch.no_grad():
        expected = theirs.compute_loss(theirs.model, RewardCollator(renderer.pad_id)(rows))
    loss, _ = first_step(ours)
    assert loss == pytest.approx(float(expected), abs=1e-5)


def test_dpo_loss_equals_trls(policy_folder: Path, renderer: Renderer, tmp_path: Path) -> None:
    """The reference is a policy that has moved away, so that no term of the loss is 0."""
    policy, reference = load_policy(policy_folder, trainable=True), load_policy(policy_folder)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        for parameter in reference.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    prompts = [renderer.prompt(messages[:1]) for messages in dialogues()[:4]]
    whole = [(renderer.dialogue(messages).input_ids, renderer.prompt(messages[:1])) for messages in dialogues()]
    responses = [ids[len(prompt) :] for ids, prompt in whole]
    chosen, rejected = responses[:4], responses[4:]
    assert len({len(ids) for ids in responses}) > 2

    def log_probability(model: torch.nn.Module, answers: list[list[int]]) -> torch.Tensor:
        ids, attention, mask = lay_out(prompts, answers, renderer.pad_id)
        logprobs, _ = response_logprobs(model, ids, attention, mask.shape[1], 1.0)
        return (logprobs * mask).sum(1)

    with torch.no_grad():
        ours = dpo_loss(
            log_probability(policy, chosen), log_probability(policy, rejected),
            log_probability(reference, chosen), log_probability(reference, rejected), beta=0.3,
        )  # fmt: skip
    rows = [
        {"prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse}
        for prompt, better, worse in zip(prompts, chosen, rejected, strict=True)
    ]
    texts = [
        {"prompt": asked[0]["content"], "chosen": better[1]["content"], "rejected": worse[1]["content"]}
        for asked, better, worse in zip(dialogues()[:4], dialogues()[:4], dialogues()[4:], strict=True)
    ]
    theirs = PlainDPO(
        model=policy,
        ref_model=reference,
        args=DPOConfig(**arguments(tmp_path), beta=0.3),
        train_dataset=Dataset.from_list(texts),  # TRL renders these its own way; the batch below is ours
        processing_class=renderer.tokenizer,
    )
    with torch.no_grad():
        expected = theirs.compute_loss(theirs.model, DPOCollator(renderer.pad_id)(rows))
    assert float(ours.loss.mean()) == pytest.approx(float(expected), abs=1e-5)
    assert ours.loss.std() > 0.01
