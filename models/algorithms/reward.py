"""The combined reward of Llama 2-Chat, what becomes of it where an answer was cut, and its whitening."""

from __future__ import annotations

import math
from typing import Literal

import torch

from models.algorithms.checks import require_mask, require_vectors

_SMALLEST_STD = 1e-8  # keeps 0 / 0 out when every entry is equal


def combine_rewards(
    safety_scores: torch.Tensor,
    helpfulness_scores: torch.Tensor,
    is_safety_prompt: torch.Tensor,
    threshold: float = 0.15,
) -> torch.Tensor:
    """logit(R_c), with R_c = R_s if is_safety(prompt) or R_s < threshold, else R_h.

    R_s and R_h are the sigmoids of the raw scores. The logit undoes the sigmoid, so the raw score itself is
    returned and the sigmoid is never taken: R_s < threshold is the same as score_s < logit(threshold). Scores of
    +-100, whose float32 sigmoids are exactly 0 or 1, therefore stay finite. An infinite score comes back as it is.

    Args:
        safety_scores: (B,) raw scores (logits) of the safety reward model.
        helpfulness_scores: (B,) raw scores (logits) of the helpfulness reward model.
        is_safety_prompt: (B,) bool, True where the prompt was written for safety.
        threshold: probability in [0, 1] below which a response counts as unsafe; 0 leaves only the prompt's tag.

    Returns:
        (B,) raw combined scores, not whitened. Whiten them, then subtract the KL penalty.

    Raises:
        ValueError: shapes differ, the threshold is no probability, or a score is NaN (it would pass as safe).

    Source: Llama 2 (arXiv 2307.09288), section 3.2.3, the piecewise R_c in front of equation 4.
    """
    require_vectors(
        safety_scores=safety_scores, helpfulness_scores=helpfulness_scores, is_safety_prompt=is_safety_prompt
    )
    require_mask(is_safety_prompt, "is_safety_prompt")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be a probability in [0, 1], got {threshold}")
    for name, scores in (("safety_scores", safety_scores), ("helpfulness_scores", helpfulness_scores)):
        if bool(scores.isnan().any()):
            rows = scores.isnan().nonzero().flatten().tolist()
            raise ValueError(f"{name} is NaN in rows {rows[:10]}; the reward model has diverged")
    return torch.where(is_safety_prompt | (safety_scores < _logit(threshold)), safety_scores, helpfulness_scores)


def truncate_rewards(
    scores: torch.Tensor, finished: torch.Tensor, truncated: float | Literal["lowest", "own"]
) -> torch.Tensor:
    """r_i for finished answers; for those that were cut at the length limit, by `truncated`:

        "lowest": min(r_i, min over finished j of r_j)      "own": r_i      a number c: c

    Reward models learn from finished answers for the most part, and say little of what has no end. With "lowest" no
    answer is worth more for having been cut than the worst one that the model brought to its end.

    Args:
        scores: (B,) raw combined scores.
        finished: (B,) bool, True where the model said the end.
        truncated: what a cut answer gets. Where none is finished "lowest" has nothing to go by, and leaves all as they
            are.

    Returns:
        (B,) raw scores, not whitened.

    Raises:
        ValueError: shapes differ, or `finished` is not bool.

    Source: ours. A fixed score for what has no end is Stiennon et al.'s (arXiv 2009.01325) and TRL's
    (`missing_eos_penalty`); the minimum needs no scale to be known.
    """
    require_vectors(scores=scores, finished=finished)
    require_mask(finished, "finished")
    if truncated == "own" or (truncated == "lowest" and not bool(finished.any())):
        return scores
    cut = scores.clamp(max=scores[finished].min()) if truncated == "lowest" else torch.full_like(scores, truncated)
    return torch.where(finished, scores, cut)


def whiten(
    x: torch.Tensor,
    mask: torch.Tensor | None = None,
    shift_mean: bool = True,
    min_std: float = 0.0,
) -> torch.Tensor:
    """(x - mean) / max(std, min_std) over the real entries, plus the mean again where `shift_mean` is False.

    Mean and population standard deviation are taken over entries with mask True only.

    Args:
        x: any shape, for example (B,) scores or (B, T) advantages.
        mask: bool of the same shape, True = real; None takes every entry as real.
        shift_mean: True centres on 0; False keeps the mean and scales the deviations from it alone.
        min_std: floor of the standard deviation. A floor of 1 keeps a batch of nearly equal rewards from being
            blown up into a strong signal.

    Returns:
        A tensor shaped like `x`, 0 where the mask is False.

    Raises:
        ValueError: shapes differ, the mask is not bool, no entry is real, or `min_std` is negative.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.3, equation for R~_c = whiten(logit(R_c)).
    """
    if mask is None:
        mask = torch.ones_like(x, dtype=torch.bool)
    require_mask(mask, "mask")
    if mask.shape != x.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, x has shape {tuple(x.shape)}")
    if min_std < 0:
        raise ValueError(f"min_std must not be negative, got {min_std}")
    real = x[mask]
    if real.numel() == 0:
        raise ValueError("there is nothing to whiten: the mask is False everywhere")
    # Taking one entry off first makes equal entries exactly 0, so that rounding is not blown up to noise.
    offset = real[0]
    shifted = real - offset
    mean = shifted.mean()
    std = (shifted - mean).square().mean().sqrt().clamp_min(max(min_std, _SMALLEST_STD))
    whitened = (shifted - mean) / std
    if not shift_mean:
        whitened = whitened + mean + offset
    return torch.zeros_like(x).masked_scatter(mask, whitened)


def _logit(probability: float) -> float:
    if probability == 0.0:
        return -math.inf
    if probability == 1.0:
        return math.inf
    return math.log(probability / (1.0 - probability))
