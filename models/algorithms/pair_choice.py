"""Which drawn pairs are worth a judgement: where a reward model is unsure, and where two of them disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

AS_PAPER, UNSURE, AXES, ITERATIONS = "as_paper", "unsure", "axes_disagree", "iterations_disagree"
KEPT_BECAUSE = (AS_PAPER, UNSURE, AXES, ITERATIONS)
"""Why a pair is kept."""

_SCALES = (1 / 64, 64.0)


def calibrated_scale(differences: Sequence[float]) -> float:
    """The scale b with which sigmoid(b * difference) says how often the reward model is right.

    Scores that were trained with a margin, or for long, lie further apart than the model is sure. b maximises
    sum_i t log sigmoid(b d_i) + (1 - t) log sigmoid(-b d_i) with Platt's target t = (N + 1) / (N + 2), which keeps b
    finite where the model is right every time.

    Args:
        differences: (N) score of the chosen response minus that of the rejected one, of pairs that the model
            has not learned.

    Returns:
        b between 1/64 and 64; 1 where there is no pair. A model that is right half of the time gets the least.

    Raises:
        ValueError: a difference is NaN or infinite.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999), section 2.2, without the offset: it is 0
    because a pair and its mirror image must add up to 1. Guo et al. (arXiv 1706.04599), temperature scaling.
    """
    for difference in differences:
        if not math.isfinite(difference):
            raise ValueError(f"a difference of scores is {difference}")
    if not differences:
        return 1.0
    target = (len(differences) + 1) / (len(differences) + 2)
    low, high = map(math.log, _SCALES)
    for _ in range(60):  # the slope falls with b, so it has one zero
        middle = (low + high) / 2
        slope = sum(d * (target - sigmoid(math.exp(middle) * d)) for d in differences)
        low, high = (middle, high) if slope > 0 else (low, middle)
    return math.exp((low + high) / 2)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def disagreement(p: float, q: float) -> float:
    """How firmly two models contradict each other: -(2p - 1)(2q - 1), between -1 and 1.

    Args:
        p, q: the probability that each gives to the same response of a pair.

    Returns:
        Above 0 where they prefer different responses; 1 where both are certain of it; 0 where one has no preference.
    """
    return -(2 * p - 1) * (2 * q - 1)


@dataclass(frozen=True)
class Beliefs:
    """What reward models think of one pair: the probability that response a is the better one.

    `own`: by the model of the pair's axis; `other`: by the one of the other axis; `earlier`: by the model of the pair's
    axis one iteration before, None where there is none. `as_paper`: whether the pair is one of those that would be
    shown without any choice.
    """

    pair_id: str
    own: float
    other: float
    earlier: float | None
    as_paper: bool


def choose_pairs(
    pairs: Sequence[Beliefs],
    *,
    uncertain_share: float,
    axes_share: float,
    iterations_share: float,
    unsure_below: float,
) -> dict[str, str]:
    """As many pairs as are `as_paper`, with the reason why each is kept.

    The shares are rounded down; what they leave is filled first, with `as_paper` pairs in their order, so that these
    remain a plain sample. Then come, among all others, the pairs of which the model is least sure, then those on which
    two models disagree most. Equal ones are decided by the smaller id. Where too few pairs fit a reason, `as_paper`
    pairs take their place.

    Args:
        pairs: all that were drawn, ids different.
        uncertain_share: of the kept pairs, those of which the own model gives the better response less than
            `unsure_below`, nearest to one half first.
        axes_share: of the kept pairs, those on which own and other model prefer different responses.
        iterations_share: of the kept pairs, those on which own and earlier model do.
        unsure_below: a probability between one half and 1.

    Returns:
        pair id → one of KEPT_BECAUSE.

    Raises:
        ValueError: an id comes twice, or the shares are more than the whole.
    """
    if len({pair.pair_id for pair in pairs}) < len(pairs):
        raise ValueError("a pair is given twice")
    shares = {UNSURE: uncertain_share, AXES: axes_share, ITERATIONS: iterations_share}
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"the shares add up to {sum(shares.values()):g}, more than the whole")
    plain = [pair.pair_id for pair in pairs if pair.as_paper]
    wanted = {reason: math.floor(share * len(plain) + 1e-9) for reason, share in shares.items()}
    kept = dict.fromkeys(plain[: len(plain) - sum(wanted.values())], AS_PAPER)
    for reason, number in wanted.items():
        ranks = {pair.pair_id: _rank(pair, reason, unsure_below) for pair in pairs if pair.pair_id not in kept}
        fitting = sorted((rank, pair_id) for pair_id, rank in ranks.items() if rank is not None)
        kept |= dict.fromkeys((pair_id for _, pair_id in fitting[:number]), reason)
    left = [pair_id for pair_id in plain if pair_id not in kept]
    return kept | dict.fromkeys(left[: len(plain) - len(kept)], AS_PAPER)


def _rank(pair: Beliefs, reason: str, unsure_below: float) -> float | None:
    """The smaller, the better the pair fits the reason; None where it does not."""
    if reason == UNSURE:
        sure = max(pair.own, 1 - pair.own)
        return sure if sure < unsure_below else None
    second = pair.other if reason == AXES else pair.earlier
    if second is None:
        return None
    found = disagreement(pair.own, second)
    return -found if found > 0 else None
