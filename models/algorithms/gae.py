"""Generalised advantage estimation over response tokens."""

from __future__ import annotations

import torch

from models.algorithms.checks import require_mask, require_matrices


@torch.no_grad()
def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    response_mask: torch.Tensor,
    gamma: float,
    gae_lambda: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages A_t = delta_t + gamma * lambda * A_{t+1}, with delta_t = r_t + gamma * V_{t+1} - V_t.

    A response ends its episode: the value after the last real token is 0. Positions with mask False are passed
    over, whatever they hold, on the left, on the right and in between. The result carries no gradient.

    Args:
        rewards: (B, T) rewards per token, see `penalize_kl`.
        values: (B, T) value of the state before each token is drawn.
        response_mask: (B, T) bool, True on real response tokens.
        gamma: discount in [0, 1].
        gae_lambda: lambda in [0, 1]; 1 gives discounted returns minus values, 0 gives the TD errors.

    Returns:
        (advantages, returns), both (B, T), with returns = advantages + values; both 0 where the mask is False.

    Raises:
        ValueError: shapes differ, the mask is not bool, or gamma or gae_lambda lie outside [0, 1].

    Source: Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
    (arXiv 1506.02438), equation 16.
    """
    require_matrices(rewards=rewards, values=values, response_mask=response_mask)
    require_mask(response_mask)
    for name, number in (("gamma", gamma), ("gae_lambda", gae_lambda)):
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {number}")
    zero = torch.zeros_like(values[:, 0]) if values.shape[1] else values.new_zeros(values.shape[0])
    next_value, next_advantage = zero, zero
    advantages = torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        real = response_mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * gae_lambda * next_advantage
        advantages[:, t] = torch.where(real, advantage, zero)
        next_advantage = torch.where(real, advantage, next_advantage)
        next_value = torch.where(real, values[:, t], next_value)
    returns = torch.where(response_mask, advantages + values, torch.zeros_like(values))
    return advantages, returns
