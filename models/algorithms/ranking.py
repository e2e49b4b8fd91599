"""Reward-model losses: the ranking loss with a margin, and the safety model's auxiliary classification."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.algorithms.checks import require_mask, require_vectors

MARGINS: dict[str, dict[str, float]] = {
    "none": {
        "significantly_better": 0.0,
        "better": 0.0,
        "slightly_better": 0.0,
        "negligibly_better": 0.0,
    },
    "small": {
        "significantly_better": 1.0,
        "better": 2 / 3,
        "slightly_better": 1 / 3,
        "negligibly_better": 0.0,
    },
    "large": {
        "significantly_better": 3.0,
        "better": 2.0,
        "slightly_better": 1.0,
        "negligibly_better": 0.0,
    },
}
"""Margin m(r) by name of the margin set, then by the annotator's word (Llama 2, arXiv 2307.09288, table 27)."""


def margin_from_rating(rating: str, margins: str) -> float:
    """The margin m(r) that a rating asks for.

    Args:
        rating: the annotator's word: significantly_better, better, slightly_better or negligibly_better.
        margins: the margin set: none, small or large.

    Raises:
        ValueError: an unknown rating or margin set; the message lists the known ones.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.2 and table 27.
    """
    if margins not in MARGINS:
        raise ValueError(f"unknown margins {margins!r}; use one of {', '.join(MARGINS)}")
    by_rating = MARGINS[margins]
    if rating not in by_rating:
        raise ValueError(f"unknown rating {rating!r}; use one of {', '.join(by_rating)}")
    return by_rating[rating]


def ranking_loss(chosen_scores: torch.Tensor, rejected_scores: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """Loss per pair: -log sigmoid(r_chosen - r_rejected - m(r)).

    Args:
        chosen_scores: (B,) raw scores of the chosen responses.
        rejected_scores: (B,) raw scores of the rejected responses.
        margins: (B,) margins, see `margin_from_rating`; zeros give the plain Bradley-Terry loss.

    Returns:
        (B,) losses in nats, not reduced.

    Raises:
        ValueError: the three shapes differ.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.2, equation 2.
    """
    require_vectors(chosen_scores=chosen_scores, rejected_scores=rejected_scores, margins=margins)
    return -F.logsigmoid(chosen_scores - rejected_scores - margins)


def safety_loss(scores: torch.Tensor, unsafe: torch.Tensor) -> torch.Tensor:
    """Auxiliary loss of the safety reward model: binary cross-entropy on the same scalar, safe = 1.

    loss = -log sigmoid(score) for a safe response, -log sigmoid(-score) for an unsafe one. It gives the score
    an absolute meaning, sigmoid(score) = P(safe), which the threshold 0.15 of the combined reward needs.

    Args:
        scores: (B,) raw scores of the safety reward model.
        unsafe: (B,) bool, True where the response was labelled unsafe.

    Returns:
        (B,) losses in nats, not reduced.

    Raises:
        ValueError: the shapes differ, or `unsafe` is not bool.

    Source: Llama 2 (arXiv 2307.09288), section 3.2.2 and appendix A.3.3 (auxiliary safety loss).
    """
    require_vectors(scores=scores, unsafe=unsafe)
    require_mask(unsafe, "unsafe")
    return F.binary_cross_entropy_with_logits(scores, (~unsafe).to(scores.dtype), reduction="none")
