"""How the judgements of people agree: Gwet's AC2 per batch and axis, and one line per annotator."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_store.annotation.adjudication import safe_sides
from data_store.annotation.export import StandingJudgement
from data_store.annotation.judging import Verdict
from data_store.rows import AXES, RATINGS
from models.algorithms.agreement import gwet_ac2

PREFERENCE_SCALE = (*(f"a {rating}" for rating in RATINGS), *(f"b {rating}" for rating in reversed(RATINGS)))
"""From "a is significantly better" to "b is significantly better": sides stand alike for everybody."""
SAFE_SIDES = ("both", "a", "b", "none")


@dataclass(frozen=True)
class Agreement:
    """AC2 over the pairs of a batch that at least two people judged; None where there is no such pair.

    measure: `preference` (the eight steps, ordinal weights) or `safety label` (which sides are safe, identity weights,
    which is AC1).
    """

    batch_id: str
    axis: str
    measure: str
    pairs: int
    ac2: float | None


@dataclass(frozen=True)
class AnnotatorFigures:
    """One person's work. agreement: of the comparisons with another person's judgement of the same pair, the share in
    which both chose the same response; passed: attention checks; None where there is nothing to measure.
    """

    name: str
    judged: int
    median_seconds: float | None
    checks: int
    passed: int
    agreement: float | None


def agreements(batch_id: str, judgements: Sequence[StandingJudgement]) -> list[Agreement]:
    """The agreement on each axis of a batch that has judgements, attention checks left out.

    Source: Gwet's AC2 as Llama 2 reports it (arXiv 2307.09288, section 3.4.2).
    """
    found = []
    for axis in AXES:
        of_axis = [one for one in judgements if one.axis == axis and one.passed is None]
        if of_axis:
            words = [f"{one.chosen} {one.rating}" for one in of_axis]
            found.append(_agreement(batch_id, axis, "preference", of_axis, words, PREFERENCE_SCALE, "ordinal"))
        if axis == "safety" and of_axis:
            sides = [safe_sides(Verdict(one.chosen, one.rating, one.safety_label)) or "none" for one in of_axis]
            found.append(_agreement(batch_id, axis, "safety label", of_axis, sides, SAFE_SIDES, "identity"))
    return found


def annotator_figures(names: Iterable[str], judgements: Sequence[StandingJudgement]) -> list[AnnotatorFigures]:
    """One line per name, over all the judgements given."""
    by_item: dict[int, dict[str, str]] = defaultdict(dict)
    for one in judgements:
        if one.passed is None:
            by_item[one.item_id][one.annotator] = one.chosen
    return [_figures(name, [one for one in judgements if one.annotator == name], by_item) for name in names]


def _agreement(
    batch_id: str,
    axis: str,
    measure: str,
    judgements: Sequence[StandingJudgement],
    words: Sequence[str],
    categories: Sequence[str],
    weights: str,
) -> Agreement:
    ratings: dict[int, list[str | None]] = defaultdict(list)
    for one, word in zip(judgements, words, strict=True):
        ratings[one.item_id].append(word)
    pairs = sum(len(row) > 1 for row in ratings.values())
    ac2 = gwet_ac2(list(ratings.values()), categories, weights) if pairs else None
    return Agreement(batch_id, axis, measure, pairs, ac2)


def _figures(name: str, own: Sequence[StandingJudgement], by_item: Mapping[int, Mapping[str, str]]) -> AnnotatorFigures:
    ordinary = [one for one in own if one.passed is None]
    checks = [one.passed for one in own if one.passed is not None]
    same = [theirs == one.chosen for one in ordinary for other, theirs in by_item[one.item_id].items() if other != name]
    return AnnotatorFigures(
        name=name,
        judged=len(ordinary),
        median_seconds=statistics.median(one.seconds for one in ordinary) if ordinary else None,
        checks=len(checks),
        passed=sum(checks),
        agreement=sum(same) / len(same) if same else None,
    )
