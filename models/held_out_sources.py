"""A classifier of texts on sources that it has not seen.

Inside its sources a linear model tells texts apart by who wrote them. What it says of texts from elsewhere shows only
where whole sources are held out, and of both sides at once: negatives that it has learned would be too easy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from models.algorithms.auc import wins
from models.ngram_classifier import Features, NgramClassifier

Rows = Mapping[str, Sequence[int]]
"""Source → the rows of its texts in the features."""


@dataclass(frozen=True)
class HeldOut:
    """What was found on held-out sources, by source: the `auc` of its texts, each compared with every text of the
    other side by a classifier that has seen neither's source, and a logit for each of its texts, the mean over the
    classifiers that have not seen it."""

    auc: Mapping[str, float]
    logits: Mapping[str, Sequence[float]]


def on_held_out_sources(features: Features, positives: Rows, negatives: Rows) -> HeldOut:
    """Leave out each source of the positives with each of the negatives in turn. The same features give the same
    figures. Raises ValueError for a side of less than two sources: nothing would be left to learn from."""
    if min(len(positives), len(negatives)) < 2:
        raise ValueError("each side needs two sources")
    won = dict.fromkeys((*positives, *negatives), 0.0)
    logits: dict[str, list[torch.Tensor]] = {name: [] for name in won}
    for positive, of_positive in positives.items():
        for negative, of_negative in negatives.items():
            classifier = fit(features, _without(positives, positive), _without(negatives, negative))
            scores = classifier.logits(features.of([*of_positive, *of_negative]))
            logits[positive].append(scores[: len(of_positive)])
            logits[negative].append(scores[len(of_positive) :])
            won_here = wins(logits[positive][-1], logits[negative][-1])
            won[positive] += won_here
            won[negative] += won_here
    totals = [sum(map(len, side.values())) for side in (negatives, positives)]
    auc = {
        name: won[name] / (len(rows) * others)
        for side, others in zip((positives, negatives), totals, strict=True)
        for name, rows in side.items()
    }
    return HeldOut(auc, {name: torch.stack(each).mean(0).tolist() for name, each in logits.items()})


def fit(features: Features, positives: Rows, negatives: Rows) -> NgramClassifier:
    """Learn to tell the texts of these sources apart."""
    good, bad = (sorted(row for rows in side.values() for row in rows) for side in (positives, negatives))
    return NgramClassifier.fit(features.of([*good, *bad]), [True] * len(good) + [False] * len(bad))


def threshold_of(sources: Sequence[Sequence[float]], max_lost_share: float) -> float:
    """The highest threshold below which lies at most this share of the scores of each source, each with some: of n
    scores in order the one at place floor(share n), counted from 0, the lowest over the sources."""
    return min(sorted(scores)[math.floor(max_lost_share * len(scores))] for scores in sources)


def _without(sources: Rows, name: str) -> Rows:
    return {each: rows for each, rows in sources.items() if each != name}
