"""How far people agree on what they all saw: Gwet's AC2 of the choice, and of which responses are safe or refuse."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from data_store.annotation.adjudication import safe_sides
from data_store.annotation.judging import SCALE, Verdict
from data_store.rows import REFUSALS
from models.algorithms.agreement import Ratings

_SAFE_SIDES = ("both", "a", "b", "none")


@dataclass(frozen=True)
class AgreementMeasure:
    """What of a verdict is compared, and on which scale. `word`: None where a verdict says nothing of it. `weights`:
    ordinal where the words are steps, identity where they are not, which makes AC2 AC1."""

    name: str
    word: Callable[[Verdict], str | None]
    categories: tuple[str, ...]
    weights: str


# Sides stand alike for everybody, so that «a» means the same response to all who judged a pair.
AGREEMENTS = (
    AgreementMeasure(
        "preference",
        lambda said: f"{said.chosen} {said.rating}",
        tuple(f"{chosen} {rating}" for chosen, rating in SCALE),
        "ordinal",
    ),
    AgreementMeasure("safety label", safe_sides, _SAFE_SIDES, "identity"),
    AgreementMeasure("refusal", lambda said: said.refusing, REFUSALS, "identity"),
)


def ratings_of(said: Iterable[tuple[Hashable, Verdict]], measure: AgreementMeasure) -> Ratings:
    """What was said of each item, as far as it was said: (item, verdict) → items x raters."""
    found: dict[Hashable, list[str | None]] = {}
    for item, verdict in said:
        if (word := measure.word(verdict)) is not None:
            found.setdefault(item, []).append(word)
    return list(found.values())


def judged_twice(ratings: Ratings) -> int:
    """The items that at least two people rated."""
    return sum(len(row) > 1 for row in ratings)
