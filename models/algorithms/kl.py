"""KL divergence to the reference policy, per token, and the reward that pays for it."""

from __future__ import annotations

import torch

from models.algorithms.checks import require_mask, require_matrices


def kl_k1(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """k1 = log pi(a) - log pi_0(a), an unbiased estimate of KL(pi || pi_0) where a is drawn from pi.

    It can be negative on a single token. This is the one that belongs in the reward.

    Args:
        logprobs: any shape, log-probabilities of the sampled tokens under the policy, in nats.
        ref_logprobs: the same shape, under the reference.

    Returns:
        The same shape, in nats.

    Raises:
        ValueError: the shapes differ.

    Source: Schulman, "Approximating KL Divergence" (2020), k1; Llama 2 (arXiv 2307.09288), equation 4.
    """
    _require_equal_shapes(logprobs, ref_logprobs)
    return logprobs - ref_logprobs


def kl_k3(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """k3 = (r - 1) - log r with r = pi_0(a) / pi(a): unbiased for KL(pi || pi_0), never negative, low variance.

    Use it to report or to add to a loss; its gradient in a reward is not that of the KL.

    Args, Returns, Raises: as `kl_k1`.

    Source: Schulman, "Approximating KL Divergence" (2020), k3.
    """
    _require_equal_shapes(logprobs, ref_logprobs)
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def penalize_kl(
    scores: torch.Tensor,
    logprobs: torch.Tensor,
    ref_logprobs: torch.Tensor,
    response_mask: torch.Tensor,
    kl_coef: float,
) -> torch.Tensor:
    """Rewards per token: -kl_coef * k1 on each real token, plus the score on the last real token.

    Summed over a response this is R(g|p) = R~_c(g|p) - beta * KL estimate.

    Args:
        scores: (B,) scores of the responses, combined and whitened.
        logprobs: (B, T) log-probabilities of the response tokens when they were sampled, in nats.
        ref_logprobs: (B, T) the same under the frozen reference.
        response_mask: (B, T) bool, True on real response tokens, the final EOS included.
        kl_coef: beta, at least 0 (0.01 for 7B and 13B, 0.005 for 34B and 70B in the paper).

    Returns:
        (B, T) rewards, 0 where the mask is False.

    Raises:
        ValueError: shapes differ, the mask is not bool, a row has no real token, or `kl_coef` is negative.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.3, equation 4.
    """
    require_matrices(logprobs=logprobs, ref_logprobs=ref_logprobs, response_mask=response_mask)
    require_mask(response_mask)
    rows, length = response_mask.shape
    if scores.shape != (rows,):
        raise ValueError(f"scores must have shape ({rows},), got {tuple(scores.shape)}")
    if kl_coef < 0:
        raise ValueError(f"kl_coef must not be negative, got {kl_coef}")
    has_token = response_mask.any(dim=1)
    if not bool(has_token.all()):
        empty = (~has_token).nonzero().flatten().tolist()
        raise ValueError(f"rows {empty[:10]} have no response token to put the score on; drop them before")
    penalty = -kl_coef * kl_k1(logprobs, ref_logprobs)
    rewards = torch.where(response_mask, penalty, torch.zeros_like(penalty))
    positions = torch.arange(length, device=response_mask.device)
    last = torch.where(response_mask, positions, -1).amax(dim=1, keepdim=True)
    return rewards.scatter_add(1, last, scores.to(rewards.dtype).unsqueeze(1))


def _require_equal_shapes(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> None:
    if logprobs.shape != ref_logprobs.shape:
        raise ValueError(
            f"logprobs {tuple(logprobs.shape)} and ref_logprobs {tuple(ref_logprobs.shape)} must have one shape"
        )
