"""A source that is held out is told by what others have in common with it, not by its own words."""

import random

import pytest

from models.algorithms.auc import wins
from models.held_out_sources import fit, on_held_out_sources, threshold_of
from models.ngram_classifier import Features, features_of

WORDS = "stone river candle garden winter letter market bridge copper window harbor forest basket".split()  # noqa: SIM905


def texts(own: str, shared: str, n: int = 30) -> list[str]:
    """Each says the source's own word and what its side has in common, among words of chance."""
    rng = random.Random(own)
    return [" ".join([own, shared, *rng.sample(WORDS, 8)]) for _ in range(n)]


def sources(good: str, bad: str) -> tuple[Features, dict[str, range], dict[str, range]]:
    names = {"one": ("amber", good), "two": ("cedar", good), "three": ("marsh", bad), "four": ("onyx", bad)}
    found = [text for own, shared in names.values() for text in texts(own, shared)]
    rows = {name: range(30 * place, 30 * place + 30) for place, name in enumerate(names)}
    sides = [{name: rows[name] for name in side} for side in (("one", "two"), ("three", "four"))]
    return features_of([("", text) for text in found]), sides[0], sides[1]


@pytest.mark.conformance(
    "a quality classifier that has learned its sources", equation="models.held_out_sources:on_held_out_sources"
)
def test_where_sides_share_nothing_held_out_sources_are_not_told_although_known_ones_are() -> None:
    features, positives, negatives = sources("", "")
    held_out = on_held_out_sources(features, positives, negatives)
    assert all(0.2 < auc < 0.8 for auc in held_out.auc.values())
    known = fit(features, positives, negatives).logits(features)
    assert wins(known[:60], known[60:]) == 60 * 60, "each source by its own word"


def test_where_a_side_shares_a_word_each_of_its_sources_is_told_without_having_been_seen() -> None:
    features, positives, negatives = sources("splendid", "dreadful")
    held_out = on_held_out_sources(features, positives, negatives)
    assert held_out.auc == dict.fromkeys(("one", "two", "three", "four"), 1.0)
    assert [len(logits) for logits in held_out.logits.values()] == [30] * 4
    assert min(held_out.logits["one"]) > max(held_out.logits["three"])
    assert on_held_out_sources(features, positives, negatives) == held_out


def test_the_area_of_a_source_is_that_of_all_its_pairs_each_judged_without_either_source() -> None:
    features, positives, negatives = sources("", "dreadful")
    held_out = on_held_out_sources(features, positives, negatives)
    won, logits = 0.0, [0.0] * 30
    for negative, other in (("three", "four"), ("four", "three")):
        classifier = fit(features, {"two": positives["two"]}, {other: negatives[other]})
        mine, theirs = (classifier.logits(features.of(rows)) for rows in (positives["one"], negatives[negative]))
        won += wins(mine, theirs)
        logits = [sum(pair) for pair in zip(logits, mine.tolist(), strict=True)]
    assert held_out.auc["one"] == won / (30 * 60)
    assert held_out.logits["one"] == pytest.approx([logit / 2 for logit in logits])


def test_with_one_source_on_a_side_nothing_can_be_held_out() -> None:
    features, positives, negatives = sources("", "")
    with pytest.raises(ValueError, match="each side needs two sources"):
        on_held_out_sources(features, positives, {"three": negatives["three"]})


def test_the_threshold_is_the_highest_that_loses_at_most_the_share_of_each_source() -> None:
    of_ten = [float(score) for score in range(10)]
    assert threshold_of([of_ten], 0.2) == 2.0, "0 and 1 lie below"
    assert threshold_of([of_ten], 0.29) == 2.0
    assert threshold_of([of_ten], 0) == 0.0
    assert threshold_of([of_ten, [1.5, 7, 8]], 0.2) == 1.5, "of three none may be lost"
    assert threshold_of([[4.0, 4.0, 4.0, 9.0, 9.0]], 0.2) == 4.0, "equal ones are none below"
