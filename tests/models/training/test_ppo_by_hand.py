"""One PPO iteration, worked out row by row in Python's own floats: rollouts, losses, mini-batches."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from models.checkpoint import backbone, load_policy, load_reward, scalar_head
from models.config import PPOConfig, SamplingConfig
from models.dialogue import Renderer
from models.generation import Response
from models.roles import Roles
from models.training import ppo, ppo_update, rollouts
from models.training.rollouts import PPOPrompt

TEMPERATURE = 1.3
PROMPTS = [
    PPOPrompt([1, 4, 20, 21, 22, 5], True),
    PPOPrompt([1, 4, 30, 5], False),
    PPOPrompt([1, 4, 2, 40, 2, 41, 42, 5], False),
    PPOPrompt([1, 4, 33, 34, 5], False),
]
RESPONSES = [
    Response([50, 51, 2], [0.0] * 3, True),
    Response([60, 61, 62, 63, 64, 2], [0.0] * 6, True),
    Response([70, 2], [0.0] * 2, True),
    Response([80, 81, 82, 83, 84, 85], [0.0] * 6, False),
]


def moved(model: nn.Module, seed: int, by: float) -> nn.Module:
    """The model, each weight moved a little."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=by)
    return model


def logits_of(model: nn.Module, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """(answer, V) float64 logits before each token of the answer, of one row without padding, over the temperature."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0].double()
    return logits[len(prompt) - 1 : -1] / TEMPERATURE


def logprobs_of(model: nn.Module, prompt: list[int], answer: list[int]) -> list[float]:
    logprobs = logits_of(model, prompt, answer).log_softmax(-1)
    return [float(logprobs[t, token]) for t, token in enumerate(answer)]


def head_on(model: nn.Module, ids: list[int]) -> list[float]:
    """The scalar head on each token of one row without padding."""
    with torch.no_grad():
        hidden = backbone(model)(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0].double()
        found: list[float] = (hidden @ scalar_head(model).weight[0].double()).tolist()
    return found


def whitened(numbers: list[float]) -> list[float]:
    mean = sum(numbers) / len(numbers)
    std = math.sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers))
    return [(number - mean) / std for number in numbers]


@pytest.fixture
def roles(policy_folder: Path, reward_folder: Path) -> Roles:
    """Five models, each with weights of its own."""
    return Roles(
        policy=load_policy(policy_folder, trainable=True),
        reference=moved(load_policy(policy_folder), 1, 0.02),
        value=moved(load_reward(reward_folder, trainable=True), 2, 0.05),
        safety=moved(load_reward(reward_folder), 3, 0.05),
        helpfulness=moved(load_reward(reward_folder), 4, 0.05),
    )


@pytest.mark.conformance("order of Llama 2's reward", equation="models.training.ppo:_roll_out")
@pytest.mark.conformance("GAE past the end", equation="models.training.ppo:_roll_out")
@pytest.mark.conformance("k1 / k3 confused", equation="models.training.ppo:_roll_out")
@pytest.mark.conformance("whitening over padding, or not centred", equation="models.training.ppo:_roll_out")
@pytest.mark.conformance("reward on the wrong position, truncated responses", equation="models.training.ppo:_combined")
def test_rollouts_follow_from_the_equations_by_hand(
    roles: Roles, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are given; everything after them is computed here a second time, one row at a time."""
    rows = [prompt.ids + response.ids for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    safety = [head_on(roles.safety, row)[-1] for row in rows]
    helpfulness = [head_on(roles.helpfulness, row)[-1] for row in rows]
    between = (safety[1] + safety[2]) / 2  # of the two prompts that are not of safety, one falls below the threshold
    config = PPOConfig(
        batch_size=4, mini_batch_size=4, kl_coef=0.3, gamma=0.9, gae_lambda=0.7, truncated_reward=-1.5,
        safety_threshold=1 / (1 + math.exp(-between)), sampling=SamplingConfig(temperature=TEMPERATURE),
    )  # fmt: skip

    given = {  # the sampler's log-probabilities are those of the policy at this temperature
        tuple(prompt.ids): [replace(response, logprobs=logprobs_of(roles.policy, prompt.ids, response.ids))]
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    }
    monkeypatch.setattr(rollouts, "sample", lambda _, asked, *__, **___: [given[tuple(each.ids)] for each in asked])
    found, stats = ppo._roll_out(roles, PROMPTS, renderer, config, Accelerator(cpu=True), seed=1)

    scores = [
        -1.5 if not response.finished
        else s if prompt.is_safety or 1 / (1 + math.exp(-s)) < config.safety_threshold
        else h
        for prompt, response, s, h in zip(PROMPTS, RESPONSES, safety, helpfulness, strict=True)
    ]  # fmt: skip
    assert scores[0] == safety[0]
    assert {scores[1] == safety[1], scores[2] == safety[2]} == {True, False}
    advantages, returns, kls = [], [], []
    for prompt, response, row, score in zip(PROMPTS, RESPONSES, rows, whitened(scores), strict=True):
        ours = logprobs_of(roles.policy, prompt.ids, response.ids)
        theirs = logprobs_of(roles.reference, prompt.ids, response.ids)
        values = [*head_on(roles.value, row)[len(prompt.ids) - 1 : -1], 0.0]  # before each token; 0 at the end
        rewards = [-0.3 * (a - b) for a, b in zip(ours, theirs, strict=True)]
        rewards[-1] += score
        errors = [reward + 0.9 * values[t + 1] - values[t] for t, reward in enumerate(rewards)]
        own = [sum((0.9 * 0.7) ** (s - t) * errors[s] for s in range(t, len(errors))) for t in range(len(errors))]
        advantages.append(own)
        returns.append([a + v for a, v in zip(own, values, strict=False)])
        kls.append(sum(a - b for a, b in zip(ours, theirs, strict=True)))
    flat = whitened([advantage for own in advantages for advantage in own])
    mask = found.response_mask
    assert mask.sum(1).tolist() == [3, 6, 2, 6]
    assert found.scores.tolist() == pytest.approx(scores, abs=1e-4)
    assert found.advantages[mask].tolist() == pytest.approx(flat, abs=2e-3)
    assert found.returns[mask].tolist() == pytest.approx([r for own in returns for r in own], abs=2e-3)
    assert stats["kl"] == pytest.approx(sum(kls) / 4, abs=1e-3)
    assert stats["reward"] == pytest.approx(sum(scores) / 4, abs=1e-4)
    assert abs(sum(kls)) > 0.1


def made_up_rollouts(roles: Roles) -> Any:
    """Rollouts whose numbers are drawn, near enough to the models that some tokens are clipped and some are not."""
    mask = torch.arange(6) < torch.tensor([[len(response.ids)] for response in RESPONSES])
    generator = torch.Generator().manual_seed(5)
    old_logprobs, old_values = torch.zeros(mask.shape), torch.zeros(mask.shape)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        n = len(response.ids)
        old_logprobs[i, :n] = torch.tensor(logprobs_of(roles.policy, prompt.ids, response.ids))
        old_values[i, :n] = torch.tensor(head_on(roles.value, prompt.ids + response.ids)[len(prompt.ids) - 1 : -1])
    drawn = torch.randn(4, *mask.shape, generator=generator)
    return ppo_update.PPOBatch(
        [p.ids for p in PROMPTS], [r.ids for r in RESPONSES], mask,
        old_logprobs + 0.3 * drawn[0], old_logprobs, old_values + 0.3 * drawn[1],
        torch.zeros(4), drawn[2], drawn[3],
    )  # fmt: skip


@pytest.mark.conformance(
    "sampling temperature against scoring temperature", equation="models.training.ppo_update:_accumulate"
)
@pytest.mark.conformance("accumulation normalised per micro-batch", equation="models.training.ppo_update:_accumulate")
@pytest.mark.conformance("value head start", equation="models.algorithms.ppo:value_loss")
def test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config(roles: Roles, renderer: Renderer) -> None:
    """Two of the four rows, in a mini-batch of 17 tokens: sums are divided by those 17."""
    made_up = made_up_rollouts(roles)
    config = PPOConfig(
        batch_size=4, mini_batch_size=4, clip_range=0.15, value_clip_range=0.1,
        sampling=SamplingConfig(temperature=TEMPERATURE),
    )  # fmt: skip
    rows = torch.tensor([1, 2])
    found = ppo_update._accumulate(roles, made_up, rows, 17, renderer, Accelerator(cpu=True), config)

    policy_sum = value_sum = entropy_sum = 0.0
    clipped = 0
    for i in rows.tolist():
        prompt, response = PROMPTS[i], RESPONSES[i]
        values = head_on(roles.value, prompt.ids + response.ids)[len(prompt.ids) - 1 : -1]
        logprobs = logits_of(roles.policy, prompt.ids, response.ids).log_softmax(-1)
        for t, token in enumerate(response.ids):
            ratio = math.exp(float(logprobs[t, token]) - float(made_up.old_logprobs[i, t]))
            advantage = float(made_up.advantages[i, t])
            plain, bounded = ratio * advantage, min(max(ratio, 0.85), 1.15) * advantage
            policy_sum -= min(plain, bounded)
            clipped += bounded < plain
            old, target = float(made_up.old_values[i, t]), float(made_up.returns[i, t])
            near = old + min(max(values[t] - old, -0.1), 0.1)
            value_sum += 0.5 * max((values[t] - target) ** 2, (near - target) ** 2)
            entropy_sum -= float((logprobs[t].exp() * logprobs[t]).sum())
    assert 0 < clipped < 8
    assert found["policy_loss"] == pytest.approx(policy_sum / 17, abs=1e-4)
    assert found["value_loss"] == pytest.approx(value_sum / 17, abs=1e-3)
    assert found["entropy"] == pytest.approx(entropy_sum / 17, abs=1e-4)
    assert found["clip_fraction"] == pytest.approx(clipped / 17, abs=1e-6)


def test_each_mini_batch_begins_with_no_gradient(roles: Roles, renderer: Renderer) -> None:
    """Nothing is learned (rate 0), so a second pass over the same rows has the gradient of the first."""
    norms = []
    for epochs in (1, 2):
        config = PPOConfig(
            batch_size=4, mini_batch_size=4, epochs=epochs, max_grad_norm=1e9,
            sampling=SamplingConfig(temperature=TEMPERATURE),
        )  # fmt: skip
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.SGD(model.parameters(), lr=0.0) for name, model in roles.trained.items()
        }
        made_up = made_up_rollouts(roles)
        stats = ppo_update.update(roles, optimizers, made_up, renderer, Accelerator(cpu=True), config, seed=1)
        norms.append([stats["policy_grad_norm"], stats["value_grad_norm"]])
    assert min(norms[0]) > 1e-3
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)
