"""Log-probabilities and entropies of tokens, without a second copy of the logits in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
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

    Works through the tokens in chunks and recomputes the softmax in the backward pass, so that beside the logits
    and their gradient only a few chunks of float32 are alive. The gradient cannot be differentiated again.
    """
    if logits.dim() != 3 or ids.shape != logits.shape[:2]:
        raise ValueError(f"expected logits (B, T, V) and ids (B, T), got {tuple(logits.shape)} and {tuple(ids.shape)}")
    if ids.dtype != torch.int64:
        raise ValueError(f"ids must be int64, got {ids.dtype}")
    if not temperature > 0:
        raise ValueError(f"temperature must be more than 0, got {temperature}")

    flat: torch.Tensor = _TokenLogprobs.apply(logits.flatten(0, 1), ids.flatten(), temperature)  # type: ignore[no-untyped-call]
    return flat.view(ids.shape)


def token_entropy(logits: torch.Tensor) -> torch.Tensor:
    """H = -sum p log p of softmax(logits) for each token, computed from log-softmax, so that -inf logits give 0.

    Args:
        logits: (..., V), divided by the temperature before if that is the policy's.

    Returns:
        (...) entropies in nats, float32 (float64 for float64 logits), each in [0, log V].
    """
    flat = logits.reshape(-1, logits.shape[-1])
    recompute = torch.is_grad_enabled() and logits.requires_grad
    parts = [
        checkpoint(_chunk_entropy, chunk, use_reentrant=False, preserve_rng_state=False)
        if recompute
        else _chunk_entropy(chunk)
        for chunk in torch.split(flat, _chunk_size(flat))
    ]
    return torch.cat(parts).view(logits.shape[:-1])


def _chunk_entropy(chunk: torch.Tensor) -> torch.Tensor:
    logp = torch.log_softmax(_at_least_float32(chunk), dim=-1)
    # p log p is 0 in the limit p = 0; 0 * -inf would be NaN, in the value and in the gradient.
    finite_logp = logp.masked_fill(logp == -torch.inf, 0.0)
    return -(logp.exp() * finite_logp).sum(dim=-1)


class _TokenLogprobs(torch.autograd.Function):
    """(N, V) logits and (N,) ids to (N,) log-probabilities; d log p(a) / d logits = (one-hot(a) - p) / temperature."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
        size = _chunk_size(logits)
        log_sums, chosen = [], []
        for chunk, chunk_ids in zip(torch.split(logits, size), torch.split(ids, size), strict=True):
            scaled = _scaled(chunk, temperature)
            log_sums.append(torch.logsumexp(scaled, dim=-1))
            chosen.append(scaled.gather(-1, chunk_ids.unsqueeze(-1)).squeeze(-1))
        log_sum = torch.cat(log_sums)
        ctx.save_for_backward(logits, ids, log_sum)
        ctx.temperature = temperature
        return torch.cat(chosen) - log_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, ids, log_sum = ctx.saved_tensors
        logits_grad = torch.empty_like(logits)
        size = _chunk_size(logits)
        for start in range(0, logits.shape[0], size):
            part = slice(start, start + size)
            weight = (grad[part] / ctx.temperature).unsqueeze(-1)
            room = logits_grad[part] if logits.dtype == log_sum.dtype else None  # else rounded at the end, once
            chunk_grad = torch.sub(_scaled(logits[part], ctx.temperature), log_sum[part].unsqueeze(-1), out=room)
            chunk_grad.exp_().mul_(-weight).scatter_add_(-1, ids[part].unsqueeze(-1), weight)
            if room is None:
                logits_grad[part] = chunk_grad
        return logits_grad, None, None


def _scaled(chunk: torch.Tensor, temperature: float) -> torch.Tensor:
    """In float32 or better; at temperature 1 the logits themselves, which nobody may write into."""
    wide = _at_least_float32(chunk)
    return wide if temperature == 1 else wide / temperature


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _chunk_size(logits: torch.Tensor) -> int:
    return max(1, _CHUNK_ELEMENTS // max(1, logits.shape[-1]))
