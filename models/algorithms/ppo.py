"""PPO's clipped policy loss and value loss, over real response tokens only."""

from __future__ import annotations

import torch

from models.algorithms.checks import require_mask, require_matrices
from models.algorithms.kl import kl_k3


def masked_mean(x: torch.Tensor, mask: torch.Tensor, denominator: float | None = None) -> torch.Tensor:
    """sum of the entries with mask True, divided by their number or by `denominator`.

    Args:
        x: any shape. What it holds where the mask is False (NaN too) reaches neither the value nor the gradient.
        mask: bool of the same shape.
        denominator: divide by this instead. Under gradient accumulation give the number of real tokens of the
            whole mini-batch to every micro-batch and add the losses up: then 1 x 16 equals 8 x 2 rows.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes differ, the mask is not bool, nothing is real and no denominator is given, or the
            denominator is not positive.
    """
    require_mask(mask, "mask")
    if x.shape != mask.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, mask has shape {tuple(mask.shape)}")
    if denominator is None:
        count = int(mask.sum())
        if count == 0:
            raise ValueError("the mean of nothing: the mask is False everywhere")
        denominator = count
    elif not denominator > 0:
        raise ValueError(f"denominator must be more than 0, got {denominator}")
    return torch.where(mask, x, torch.zeros_like(x)).sum() / denominator


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    response_mask: torch.Tensor,
    clip_range: float,
    denominator: float | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """-mean over tokens of min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A).

    Args:
        logprobs: (B, T) log-probabilities of the sampled tokens under the policy being trained, in nats.
        old_logprobs: (B, T) the same under the policy that sampled them, at the same temperature.
        advantages: (B, T), see `gae`.
        response_mask: (B, T) bool, True on real response tokens.
        clip_range: epsilon, more than 0 (0.2 in the paper).
        denominator: see `masked_mean`.

    Returns:
        (loss, stats): a scalar, and detached scalars over this call's real tokens: clip_fraction (share where the
        clip took the gradient away), approx_kl (k3 of old to new policy, nats per token), ratio_mean, ratio_max.

    Raises:
        ValueError: shapes differ, the mask is not bool or empty, or clip_range is not positive.

    Source: Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), equation 7.
    """
    require_matrices(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, response_mask=response_mask)
    require_mask(response_mask)
    if not clip_range > 0:
        raise ValueError(f"clip_range must be more than 0, got {clip_range}")
    # Padding gets log ratio 0 before the exponential, so that nothing there can overflow into a gradient.
    log_ratio = torch.where(response_mask, logprobs - old_logprobs, torch.zeros_like(logprobs))
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    loss = masked_mean(torch.maximum(unclipped, clipped), response_mask, denominator)
    with torch.no_grad():
        real_ratio = ratio[response_mask]
        if real_ratio.numel() == 0:
            raise ValueError("response_mask is False everywhere")
        real_log_ratio = log_ratio[response_mask]
        stats = {
            "clip_fraction": (clipped > unclipped)[response_mask].to(ratio.dtype).mean(),
            "approx_kl": kl_k3(torch.zeros_like(real_log_ratio), real_log_ratio).mean(),
            "ratio_mean": real_ratio.mean(),
            "ratio_max": real_ratio.max(),
        }
    return loss, stats


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    response_mask: torch.Tensor,
    value_clip_range: float | None,
    denominator: float | None = None,
) -> torch.Tensor:
    """Half the mean squared error to the returns, the worse of the plain and the clipped value.

    0.5 * mean of max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2); with c = None just 0.5 * mean (V - R)^2.

    Args:
        values: (B, T) from the value model being trained.
        old_values: (B, T) from when the responses were sampled.
        returns: (B, T), see `gae`.
        response_mask: (B, T) bool, True on real response tokens.
        value_clip_range: c, more than 0, or None for no clipping.
        denominator: see `masked_mean`.

    Returns:
        A scalar, not yet multiplied by value_coef.

    Raises:
        ValueError: shapes differ, the mask is not bool or empty, or value_clip_range is not positive.

    Source: the clipped value loss of OpenAI baselines' ppo2, as in Huang et al., "The 37 Implementation Details of
    Proximal Policy Optimization" (2022), detail 9.
    """
    require_matrices(values=values, old_values=old_values, returns=returns, response_mask=response_mask)
    require_mask(response_mask)
    # Zeros at padding before the squares: a NaN there would come back through the gradient as 0 * NaN.
    zero = torch.zeros_like(values)
    values, old_values, returns = (torch.where(response_mask, x, zero) for x in (values, old_values, returns))
    error = (values - returns).square()
    if value_clip_range is not None:
        if not value_clip_range > 0:
            raise ValueError(f"value_clip_range must be more than 0 or None, got {value_clip_range}")
        clipped = old_values + (values - old_values).clamp(-value_clip_range, value_clip_range)
        error = torch.maximum(error, (clipped - returns).square())
    return 0.5 * masked_mean(error, response_mask, denominator)


def explained_variance(values: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
    """1 - Var(returns - values) / Var(returns): how much of the returns the value model knew.

    Args:
        values: (N,) of real tokens.
        returns: (N,) of the same tokens.

    Returns:
        A scalar of at most 1; variances are those of the tokens given, and that of the returns counts as 1e-8 at least.

    Source: `explained_variance` of OpenAI baselines (common/math_util.py).
    """
    return 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False).clamp(min=1e-8)


def importance_weights(logprobs: torch.Tensor, drawn_logprobs: torch.Tensor, cap: float) -> torch.Tensor:
    """min(pi_learner / pi_sampler, cap) of each token: what its term of the policy loss is multiplied by where another
    engine has drawn it than the one that learns, with the learner as it was then.

    Args:
        logprobs: (B, T) log-probabilities of the tokens by the engine that learns, before it has learned, in nats.
        drawn_logprobs: (B, T) by the engine that has drawn them, at the same temperature.
        cap: more than 0; 2 is usual. A larger weight is cut to it, which bounds the variance and leaves a bias.

    Returns:
        (B, T), without a gradient.

    Raises:
        ValueError: shapes differ, or the cap is not positive.

    Source: truncated importance sampling, Ionides (2008), as Yao et al. put it before PPO's own loss ("Your Efficient
    RL Framework Secretly Brings You Off-Policy RL Training", 2025) and AIPO before the plain gradient (arXiv
    2505.24034).
    """
    require_matrices(logprobs=logprobs, drawn_logprobs=drawn_logprobs)
    if not cap > 0:
        raise ValueError(f"cap must be more than 0, got {cap}")
    return (logprobs - drawn_logprobs).detach().exp().clamp(max=cap)
