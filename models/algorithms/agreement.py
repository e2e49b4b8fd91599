"""Inter-rater reliability: Gwet's AC1 and AC2, with what other items could have changed."""

from __future__ import annotations

from collections.abc import Sequence

from models.algorithms.intervals import RESAMPLES

WEIGHTS = ("identity", "linear", "ordinal", "quadratic")
Ratings = Sequence[Sequence[str | None]]
"""Items x raters: the category's word, or None where the rater did not judge the item."""


def gwet_ac2(
    ratings: Ratings,
    categories: Sequence[str],
    weights: str = "ordinal",
) -> float:
    """Gwet's AC2 = (p_a - p_e) / (1 - p_e), for any number of raters and with missing ratings.

    With r_ik the number of raters who put item i in category k, r_i their number, q categories and weights w:
    p_a = mean over items with r_i >= 2 of sum_k r_ik (sum_l w_kl r_il - 1) / (r_i (r_i - 1)),
    pi_k = mean over rated items of r_ik / r_i, p_e = sum_kl w_kl / (q (q - 1)) * sum_k pi_k (1 - pi_k).

    Args:
        ratings: items x raters.
        categories: the words from one end of the scale to the other, at least 2. List those nobody used as well:
            the chance agreement depends on how many there are.
        weights: identity (this is AC1), linear, ordinal or quadratic.

    Returns:
        The coefficient: 1 is perfect agreement, 0 agreement by chance. Below that it ends at -P / (1 - P), with
        P = sum_kl w_kl / q^2 the greatest p_e there is: -1 / (q - 1) with identity, but less than -1 with weights that
        give disagreement much credit.

    Raises:
        ValueError: unknown weights, an unknown or repeated category, or no item with two ratings.

    Source: Gwet, "Handbook of Inter-Rater Reliability", 4th edition (2014), chapters 4 and 5; reported by Llama 2
    (arXiv 2307.09288), section 3.4.2.
    """
    agreements, shares, weight = _by_item(ratings, categories, weights)
    told = [agreement for agreement in agreements if agreement is not None]
    if not told:
        raise ValueError("no item was rated by two raters: agreement cannot be measured")
    q, p_a = len(categories), sum(told) / len(told)
    pi = [sum(share[k] for share in shares) / len(shares) for k in range(q)]
    p_e = sum(map(sum, weight)) / (q * (q - 1)) * sum(p * (1 - p) for p in pi)
    return (p_a - p_e) / (1 - p_e)


def ac2_interval(
    ratings: Ratings, categories: Sequence[str], weights: str = "ordinal", seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of `gwet_ac2` at 95 %: items are drawn with replacement 2,000 times, each with all that was
    said of it, and samples in which nothing was rated twice tell nothing. None where fewer than two items were rated
    twice. It raises what `gwet_ac2` raises.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3; the items are the units, as
    in Gwet (2014), chapter 5.
    """
    import numpy as np

    agreements, shares, weight = _by_item(ratings, categories, weights)
    if sum(agreement is not None for agreement in agreements) < 2:
        return None
    q, n = len(categories), len(shares)
    agreed = np.array([np.nan if agreement is None else agreement for agreement in agreements])
    share, scale = np.array(shares), sum(map(sum, weight)) / (q * (q - 1))
    rng, found = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, n, n)
        told = agreed[drawn][~np.isnan(agreed[drawn])]
        if len(told):
            pi = share[drawn].mean(axis=0)
            p_e = scale * (pi * (1 - pi)).sum()
            found.append((told.mean() - p_e) / (1 - p_e))
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _by_item(
    ratings: Ratings, categories: Sequence[str], weights: str
) -> tuple[list[float | None], list[list[float]], list[list[float]]]:
    """Of each item that was rated its agreement, None where one rater alone rated it, and the share of each category;
    and the weights."""
    q = len(categories)
    if q < 2 or len(set(categories)) != q:
        raise ValueError(f"categories must be at least 2 different words, got {list(categories)}")
    weight = _weight_matrix(q, weights)
    place = {category: k for k, category in enumerate(categories)}
    agreements: list[float | None] = []
    shares: list[list[float]] = []
    for item, row in enumerate(ratings):
        counts = [0] * q
        for rating in row:
            if rating is None:
                continue
            if rating not in place:
                raise ValueError(f"item {item} has the unknown rating {rating!r}; use one of {', '.join(categories)}")
            counts[place[rating]] += 1
        total = sum(counts)
        if total == 0:
            continue
        shares.append([count / total for count in counts])
        weighted = [sum(w * count for w, count in zip(weight[k], counts, strict=True)) for k in range(q)]
        agreement = sum(counts[k] * (weighted[k] - 1) for k in range(q))
        agreements.append(agreement / (total * (total - 1)) if total >= 2 else None)
    return agreements, shares, weight


def _weight_matrix(q: int, weights: str) -> list[list[float]]:
    """(q, q) agreement weights, 1 on the diagonal, falling with the distance on the scale."""
    if weights == "identity":
        loss = [float(d > 0) for d in range(q)]
    elif weights == "linear":
        loss = [d / (q - 1) for d in range(q)]
    elif weights == "ordinal":
        loss = [d * (d + 1) / (q * (q - 1)) for d in range(q)]
    elif weights == "quadratic":
        loss = [(d / (q - 1)) ** 2 for d in range(q)]
    else:
        raise ValueError(f"unknown weights {weights!r}; use one of {', '.join(WEIGHTS)}")
    return [[1.0 - loss[abs(k - m)] for m in range(q)] for k in range(q)]
