"""Direct preference optimisation."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from models.algorithms.checks import require_mask, require_matrices, require_vectors


class DPOLoss(NamedTuple):
    """Per pair, each (B,): the loss in nats, and the implicit rewards (detached) of both responses."""

    loss: torch.Tensor
    chosen_rewards: torch.Tensor
    rejected_rewards: torch.Tensor


def dpo_loss(
    chosen_logprobs: torch.Tensor,
    rejected_logprobs: torch.Tensor,
    ref_chosen_logprobs: torch.Tensor,
    ref_rejected_logprobs: torch.Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> DPOLoss:
    """Loss per pair: -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h), e the label smoothing.

    h = [log pi(chosen) - log pi_ref(chosen)] - [log pi(rejected) - log pi_ref(rejected)], each summed over the
    response's tokens. With e = 0 it is the plain DPO loss; e > 0 assumes that a share e of the labels is flipped.

    Args:
        chosen_logprobs, rejected_logprobs: (B,) summed log-probabilities under the policy, in nats.
        ref_chosen_logprobs, ref_rejected_logprobs: (B,) the same under the frozen reference.
        beta: strength of the pull to the reference, more than 0.
        label_smoothing: e in [0, 0.5).

    Returns:
        `DPOLoss`, not reduced; the implicit reward is beta * (log pi - log pi_ref).

    Raises:
        ValueError: shapes differ, beta is not positive or label_smoothing lies outside [0, 0.5).

    Source: Rafailov et al., "Direct Preference Optimization" (arXiv 2305.18290), equation 7; the smoothed form:
    Mitchell, "A note on DPO with noisy preferences" (2023), equation 3.
    """
    require_vectors(
        chosen_logprobs=chosen_logprobs,
        rejected_logprobs=rejected_logprobs,
        ref_chosen_logprobs=ref_chosen_logprobs,
        ref_rejected_logprobs=ref_rejected_logprobs,
    )
    if not beta > 0:
        raise ValueError(f"beta must be more than 0, got {beta}")
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must lie in [0, 0.5), got {label_smoothing}")
    chosen_rewards = beta * (chosen_logprobs - ref_chosen_logprobs)
    rejected_rewards = beta * (rejected_logprobs - ref_rejected_logprobs)
    difference = chosen_rewards - rejected_rewards
    loss = -(1 - label_smoothing) * F.logsigmoid(difference) - label_smoothing * F.logsigmoid(-difference)
    return DPOLoss(loss, chosen_rewards.detach(), rejected_rewards.detach())


def chosen_nll(logprobs: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
    """-log pi(chosen) / |chosen| of each pair: keeps the chosen responses likely, and their format as it is.

    Args:
        logprobs: (B, T) log-probabilities of the chosen responses' tokens under the policy, in nats.
        response_mask: (B, T) bool, True on real response tokens, the final EOS included.

    Returns:
        (B,) nats per token.

    Raises:
        ValueError: shapes differ, the mask is not bool, or a row has no real token.

    Source: Pang et al., "Iterative Reasoning Preference Optimization" (arXiv 2404.19733), the first term of equation 1;
    Llama 3 (arXiv 2407.21783), section 4.1.4, weighs it with 0.2.
    """
    require_matrices(logprobs=logprobs, response_mask=response_mask)
    require_mask(response_mask)
    lengths = response_mask.sum(dim=1)
    if not bool((lengths > 0).all()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise ValueError(f"rows {empty[:10]} have no response token to learn from; drop them before")
    return -torch.where(response_mask, logprobs, torch.zeros_like(logprobs)).sum(dim=1) / lengths
