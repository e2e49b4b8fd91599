"""How the judgements of people agree: Gwet's AC2 per batch and axis, and one line per annotator."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_store.annotation.export import StandingJudgement
from data_store.rows import AXES
from models.algorithms.agreement import gwet_ac2
from tasks.judging.agreement import AGREEMENTS, judged_twice, ratings_of


@dataclass(frozen=True)
class Agreement:
    """AC2 over the pairs of a batch that at least two people judged; None where there is no such pair.

    measure: `preference` (the eight steps, ordinal weights), `safety label` (which sides are safe) or `refusal` (which
    refuse), both with identity weights, which is AC1.
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
        said = [(one.item_id, one.verdict) for one in judgements if one.axis == axis and one.passed is None]
        for measure in AGREEMENTS:
            if ratings := ratings_of(said, measure):
                pairs = judged_twice(ratings)
                ac2 = gwet_ac2(ratings, measure.categories, measure.weights) if pairs else None
                found.append(Agreement(batch_id, axis, measure.name, pairs, ac2))
    return found


def annotator_figures(names: Iterable[str], judgements: Sequence[StandingJudgement]) -> list[AnnotatorFigures]:
    """One line per name, over all the judgements given."""
    by_item: dict[int, dict[str, str]] = defaultdict(dict)
    for one in judgements:
        if one.passed is None:
            by_item[one.item_id][one.annotator] = one.chosen
    return [_figures(name, [one for one in judgements if one.annotator == name], by_item) for name in names]


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
