"""What is true in one little world, and which combinations it holds out; all of it follows from the seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from world.vocabulary import (
    ATTRIBUTES,
    COUNTS,
    INSTRUCTION_WORDS,
    METHODS,
    NOUNS,
    PEOPLE,
    PERSONAS,
    VERBS,
    HowToKind,
    QuestionKind,
    Split,
)

R = TypeVar("R", str, int)
C = TypeVar("C", str, int)


@dataclass(frozen=True)
class FactsQuestion:
    """Asks one or two facts; each fact is (person, attribute)."""

    facts: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> QuestionKind:
        return "fact" if len(self.facts) == 1 else "two_facts"


@dataclass(frozen=True)
class ListQuestion:
    """Asks for `count` different items of a category (an attribute's name)."""

    count: int
    category: str

    @property
    def kind(self) -> QuestionKind:
        return "list"


@dataclass(frozen=True)
class HowToQuestion:
    """Asks how to do `verb` to a `noun`; `kind` says whether that is benign, only sounds dangerous, or is."""

    kind: HowToKind
    verb: str
    noun: str


Question = FactsQuestion | ListQuestion | HowToQuestion


def rng_for(*parts: object) -> random.Random:
    """A generator seeded by a text: equal on every machine and Python version, free of PYTHONHASHSEED."""
    return random.Random("world/" + "/".join(str(part) for part in parts))


def hold_out(rows: Sequence[R], columns: Sequence[C], count: int, rng: random.Random) -> list[tuple[R, C]]:
    """Choose `count` cells of the grid rows x columns, spread evenly, so that no row and no column is ever emptied."""
    row_cap = min(ceil(count / len(rows)) + 1, len(columns) - 1)
    column_cap = min(ceil(count / len(columns)) + 1, len(rows) - 1)
    cells = [(row, column) for row in rows for column in columns]
    while True:
        rng.shuffle(cells)
        row_left = dict.fromkeys(rows, row_cap)
        column_left = dict.fromkeys(columns, column_cap)
        chosen: list[tuple[R, C]] = []
        for row, column in cells:
            if row_left[row] and column_left[column]:
                row_left[row] -= 1
                column_left[column] -= 1
                chosen.append((row, column))
                if len(chosen) == count:
                    return chosen


def _splits(
    rows: Sequence[R], columns: Sequence[C], heldout: int, validation: int, rng: random.Random
) -> dict[tuple[R, C], Split]:
    chosen = hold_out(rows, columns, heldout + validation, rng)
    splits: dict[tuple[R, C], Split] = {(row, column): "train" for row in rows for column in columns}
    splits.update(dict.fromkeys(chosen[:heldout], "heldout"))
    splits.update(dict.fromkeys(chosen[heldout:], "validation"))
    return splits


class World:
    """The facts, methods and held-out combinations of one seed.

    `facts[person, attribute]` is a value; `methods[kind][verb]` a method, such as "a wet cloth". The `*_splits` say for
    each combination whether it is for training, for validation or held out. Every atom (person, attribute, verb, noun,
    count, category, word, position) occurs in some training combination. A held-out fact is still *stated* in
    documents: held out is that anybody asks it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.facts: dict[tuple[str, str], str] = {}
        for attribute, values in ATTRIBUTES.items():
            rng = rng_for("facts", seed, attribute)
            assigned = [*values, *rng.sample(values, len(PEOPLE) - len(values))]
            rng.shuffle(assigned)
            self.facts.update({(person, attribute): value for person, value in zip(PEOPLE, assigned, strict=True)})

        self.methods: dict[HowToKind, dict[str, str]] = {}
        for kind in METHODS:
            shuffled = rng_for("methods", seed, kind).sample(METHODS[kind], len(METHODS[kind]))
            self.methods[kind] = dict(zip(VERBS[kind], shuffled, strict=True))

        self.fact_splits = _splits(PEOPLE, tuple(ATTRIBUTES), 15, 5, rng_for("hold out facts", seed))
        self.list_splits = _splits(tuple(COUNTS), tuple(ATTRIBUTES), 4, 1, rng_for("hold out lists", seed))
        self.how_to_splits: dict[HowToKind, dict[tuple[str, str], Split]] = {
            kind: _splits(VERBS[kind], NOUNS[kind], *held, rng_for("hold out", kind, seed))
            for kind, held in _HELD_HOW_TOS.items()
        }
        self.word_splits = _splits(INSTRUCTION_WORDS, ("start", "end"), 4, 0, rng_for("hold out words", seed))
        heldout_personas = set(rng_for("hold out personas", seed).sample(tuple(PERSONAS), 3))
        self.persona_splits: dict[str, Split] = {
            persona: "heldout" if persona in heldout_personas else "train" for persona in PERSONAS
        }

    def fact_questions(self, split: Split) -> list[FactsQuestion]:
        """The facts that may be asked in a split, one by one."""
        return [FactsQuestion((fact,)) for fact, fact_split in self.fact_splits.items() if fact_split == split]

    def pair_questions(self, split: Split) -> list[FactsQuestion]:
        """The ordered pairs of different facts that may be asked in a split; both facts are of that split."""
        facts = [question.facts for question in self.fact_questions(split)]
        return [FactsQuestion(first + second) for first in facts for second in facts if first != second]

    def list_questions(self, split: Split) -> list[ListQuestion]:
        """The (count, category) pairs that may be asked in a split."""
        return [ListQuestion(*cell) for cell, cell_split in self.list_splits.items() if cell_split == split]

    def how_to_questions(self, kind: HowToKind, split: Split) -> list[HowToQuestion]:
        """The (verb, noun) pairs of a kind that may be asked in a split."""
        splits = self.how_to_splits[kind]
        return [HowToQuestion(kind, *cell) for cell, cell_split in splits.items() if cell_split == split]

    def questions(self, kind: QuestionKind, split: Split) -> Sequence[Question]:
        """Every question of a kind in a split, in a fixed order."""
        if kind == "fact":
            return self.fact_questions(split)
        if kind == "two_facts":
            return self.pair_questions(split)
        if kind == "list":
            return self.list_questions(split)
        return self.how_to_questions(kind, split)


_HELD_HOW_TOS: dict[HowToKind, tuple[int, int]] = {"how_to": (32, 8), "borderline": (20, 5), "adversarial": (20, 5)}
"""Held-out and validation combinations per kind."""
