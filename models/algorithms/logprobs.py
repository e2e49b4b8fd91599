"""Log-probabilities and entropies of tokens, without a second copy of the logits in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

_CHUNK_ELEMENTS = 1 << 24  # logits per chunk: 64 MiB in float32


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """log softmax(logits / temperature) at `ids`, computed in float32 or better.

    Use the temperature that the tokens were sampled at wherever sampled and recomputed log-probabilities meet:
    with any other one the first PPO ratio is not 1.

    Args:
        logits: (B, T, V); logits[:, t] predicts ids[:, t]. The caller shifts, once.
        ids: (B, T) int64 token ids in [0, V). Padding must hold a valid id too, never -100.
        temperature: sampling temperature, more than 0; 1 where nothing was sampled.

    Returns:
        (B, T) log-probabilities in nats, float32 (float64 for float64 logits).

    Raises:
        ValueError: shapes differ, `ids` is not int64, or the temperature is not positive.

    Works through the tokens in chunks and recomputes each chunk in the backward pass, so that beside the logits
    and their gradient only one chunk of float32 is alive.
    """
    if logits.dim() != 3 or ids.shape != logits.shape[:2]:
        raise ValueError(f"expected logits (B, T, V) and ids (B, T), got {tuple(logits.shape)} and {tuple(ids.shape)}")
    if ids.dtype != torch.int64:
        raise ValueError(f"ids must be int64, got {ids.dtype}")
    if not temperature > 0:
        raise ValueError(f"temperature must be more than 0, got {temperature}")

    def chunk_logprobs(chunk: torch.Tensor, chunk_ids: torch.Tensor) -> torch.Tensor:
        scaled = _at_least_float32(chunk) / temperature
        return scaled.gather(-1, chunk_ids.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(scaled, dim=-1)

    return _map_tokens(chunk_logprobs, logits.flatten(0, 1), ids.flatten()).view(ids.shape)


def token_entropy(logits: torch.Tensor) -> torch.Tensor:
    """H = -sum p log p of softmax(logits) for each token, computed from log-softmax, so that -inf logits give 0.

    Args:
        logits: (..., V), divided by the temperature before if that is the policy's.

    Returns:
        (...) entropies in nats, float32 (float64 for float64 logits), each in [0, log V].
    """
    flat = logits.reshape(-1, logits.shape[-1])
    return _map_tokens(_chunk_entropy, flat).view(logits.shape[:-1])


def _chunk_entropy(chunk: torch.Tensor) -> torch.Tensor:
    logp = torch.log_softmax(_at_least_float32(chunk), dim=-1)
    # p log p is 0 in the limit p = 0; 0 * -inf would be NaN, in the value and in the gradient.
    finite_logp = logp.masked_fill(logp == -torch.inf, 0.0)
    return -(logp.exp() * finite_logp).sum(dim=-1)


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _map_tokens(function: Callable[..., torch.Tensor], logits: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Apply `function` to (N, V) logits and (N,) others chunk by chunk; results are joined to (N,)."""
    tokens, vocabulary = logits.shape
    size = max(1, _CHUNK_ELEMENTS // max(1, vocabulary))
    if tokens <= size:
        return function(logits, *others)
    recompute = torch.is_grad_enabled() and logits.requires_grad
    parts = []
    for start in range(0, tokens, size):
        pieces = [tensor[start : start + size] for tensor in (logits, *others)]
        if recompute:
            part = checkpoint(function, *pieces, use_reentrant=False, preserve_rng_state=False)
        else:
            part = function(*pieces)
        parts.append(part)
    return torch.cat(parts)
