"""What PPO learns from one batch of answers: a gradient step of policy and value model for each of its mini-batches.

Several processes each learn from their part of a mini-batch, and gradients are summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from models.algorithms.logprobs import token_entropy
from models.algorithms.ppo import explained_variance, policy_loss, value_loss
from models.config import PPOConfig
from models.devices import autocast
from models.dialogue import Renderer
from models.learning_pass import fast_learning
from models.responses import lay_responses, read_logprobs, read_values
from models.roles import Roles
from models.training.ppo_looks import keep_look
from models.training.sharding import whole


@dataclass
class PPOBatch:
    """One batch: B responses of at most T tokens, and what is learned from them."""

    prompts: list[list[int]]
    responses: list[list[int]]
    response_mask: torch.Tensor  # (B, T)
    old_logprobs: torch.Tensor  # (B, T)
    ref_logprobs: torch.Tensor  # (B, T)
    old_values: torch.Tensor  # (B, T)
    scores: torch.Tensor  # (B,) combined raw reward, before whitening
    advantages: torch.Tensor  # (B, T)
    returns: torch.Tensor  # (B, T)

    def keep(self, accelerator: Accelerator, work: Path, iteration: int) -> None:
        """As a look, below `work`; the first process alone writes."""
        if accelerator.is_main_process:
            numbers = self.response_mask, self.old_logprobs, self.ref_logprobs, self.scores
            keep_look(work, iteration, self.responses, *numbers)


def adamw(model: nn.Module, learning_rate: float, config: PPOConfig) -> torch.optim.Optimizer:
    """Over what is trained of `model`, with a constant learning rate."""
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def update(
    roles: Roles,
    optimizers: dict[str, torch.optim.Optimizer],
    rollouts: PPOBatch,
    renderer: Renderer,
    accelerator: Accelerator,
    config: PPOConfig,
    seed: int,
) -> dict[str, float]:
    """One gradient step of policy and value model per mini-batch."""
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, float] = {}
    count = 0
    for model in roles.trained.values():
        model.train()
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(rollouts.responses), generator=generator), config.mini_batch_size):
            tokens = int(rollouts.response_mask[rows].sum())
            own = rows[accelerator.process_index :: accelerator.num_processes]
            with fast_learning(roles.policy, config.kernel), fast_learning(roles.value, config.kernel):
                parts = [
                    _accumulate(roles, rollouts, part, tokens, renderer, accelerator, config)
                    for part in torch.split(own, -(-len(own) // config.accumulation_steps))
                ]
            stats = _whole(gather_object(parts))
            real = rollouts.response_mask[rows]
            known = explained_variance(rollouts.old_values[rows][real], rollouts.returns[rows][real])
            stats["explained_variance"] = float(known)
            for name, optimizer in optimizers.items():
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                for parameter in parameters if config.shards == 1 else ():  # else they are added up on the way back
                    parameter.grad = accelerator.reduce(parameter.grad, "sum")
                norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
                stats[f"{name}_grad_norm"] = float(whole(norm))
                optimizer.step()
                optimizer.zero_grad()
            for name, number in stats.items():
                totals[name] = totals.get(name, 0.0) + number
            count += 1
    return {name: total / count for name, total in totals.items()}


def _accumulate(
    roles: Roles,
    rollouts: PPOBatch,
    rows: torch.Tensor,
    tokens: int,
    renderer: Renderer,
    accelerator: Accelerator,
    config: PPOConfig,
) -> dict[str, float]:
    """Add the gradients of some rows of a mini-batch that holds `tokens` real tokens. Returns their share of its
    means, and their largest ratio."""
    batch = lay_responses(
        [rollouts.prompts[i] for i in rows],
        [rollouts.responses[i] for i in rows],
        renderer.pad_id,
        roles.row_cost,
        accelerator.device,
    )
    mask, temperature = batch.mask, config.sampling.temperature
    columns = slice(mask.shape[1])
    with autocast(config.dtype):
        logprobs, logits = read_logprobs(roles.policy, batch, temperature)
    sampled, advantages = rollouts.old_logprobs[rows, columns], rollouts.advantages[rows, columns]
    loss, stats = policy_loss(logprobs, sampled, advantages, mask, config.clip_range, denominator=tokens)
    accelerator.backward(loss)
    with autocast(config.dtype):
        values = read_values(roles.value, batch)
    critic_loss = value_loss(
        values,
        rollouts.old_values[rows, columns],
        rollouts.returns[rows, columns],
        mask,
        config.value_clip_range,
        denominator=tokens,
    )
    accelerator.backward(critic_loss)
    share = int(mask.sum()) / tokens
    return {
        **{name: share * float(tensor) for name, tensor in stats.items()},
        "ratio_max": float(stats["ratio_max"]),
        "policy_loss": float(loss.detach()),
        "value_loss": float(critic_loss.detach()),
        "entropy": float(token_entropy(logits.detach() / temperature).sum()) / tokens,
    }


def _whole(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Statistics of a mini-batch from those of its parts: shares of a mean add up, of ratios the largest counts."""
    return {name: (max if name == "ratio_max" else sum)(part[name] for part in parts) for name in parts[0]}
