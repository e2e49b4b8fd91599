from collections import Counter
from typing import Any

import pytest

from world.content import World, hold_out, rng_for
from world.vocabulary import (
    ATTRIBUTES,
    COUNTS,
    INSTRUCTION_WORDS,
    METHODS,
    NOUNS,
    PEOPLE,
    PERSONAS,
    PLURALS,
    VERBS,
    HowToKind,
)

SEEDS = range(20)


def test_a_seed_gives_the_same_world_and_another_seed_another_one() -> None:
    first, again, other = World(3), World(3), World(4)
    assert vars(first) == vars(again)
    for name in ("facts", "methods", "fact_splits", "list_splits", "how_to_splits", "word_splits", "persona_splits"):
        assert getattr(first, name) != getattr(other, name), name


@pytest.mark.parametrize("seed", SEEDS)
def test_every_person_has_every_attribute_and_every_value_belongs_to_somebody(seed: int) -> None:
    world = World(seed)
    assert set(world.facts) == {(person, attribute) for person in PEOPLE for attribute in ATTRIBUTES}
    for attribute, values in ATTRIBUTES.items():
        assert {world.facts[person, attribute] for person in PEOPLE} == set(values)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_verb_has_one_method_of_its_own(seed: int) -> None:
    world = World(seed)
    for kind in METHODS:
        assert set(world.methods[kind]) == set(VERBS[kind])
        assert sorted(world.methods[kind].values()) == sorted(METHODS[kind])


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_combinations_have_their_number_and_leave_every_atom_in_training(seed: int) -> None:
    world = World(seed)
    grids: list[tuple[Any, Any, Any, int, int]] = [
        (world.fact_splits, PEOPLE, tuple(ATTRIBUTES), 15, 5),
        (world.list_splits, tuple(COUNTS), tuple(ATTRIBUTES), 4, 1),
        (world.how_to_splits["how_to"], VERBS["how_to"], NOUNS["how_to"], 32, 8),
        (world.how_to_splits["borderline"], VERBS["borderline"], NOUNS["borderline"], 20, 5),
        (world.how_to_splits["adversarial"], VERBS["adversarial"], NOUNS["adversarial"], 20, 5),
        (world.word_splits, INSTRUCTION_WORDS, ("start", "end"), 4, 0),
    ]
    for splits, rows, columns, heldout, validation in grids:
        counts = Counter(splits.values())
        assert (counts["heldout"], counts["validation"]) == (heldout, validation)
        assert sum(counts.values()) == len(rows) * len(columns)
        trained = [cell for cell, split in splits.items() if split == "train"]
        assert {row for row, _ in trained} == set(rows)
        assert {column for _, column in trained} == set(columns)
    assert Counter(world.persona_splits.values()) == {"train": 9, "heldout": 3}


def test_holding_out_spreads_over_rows_and_columns() -> None:
    chosen = hold_out(range(12), range(5), 15, rng_for("test"))
    assert len(set(chosen)) == 15
    assert max(Counter(row for row, _ in chosen).values()) <= 3
    assert max(Counter(column for _, column in chosen).values()) <= 4


def test_pair_questions_take_two_different_facts_of_the_same_split(world: World) -> None:
    pairs = world.pair_questions("heldout")
    assert len(pairs) == 15 * 14
    for pair in pairs:
        assert pair.facts[0] != pair.facts[1]
        assert {world.fact_splits[fact] for fact in pair.facts} == {"heldout"}


def test_no_word_has_two_roles() -> None:
    kinds: tuple[HowToKind, ...] = ("how_to", "borderline", "adversarial")
    roles = [
        *PEOPLE,
        *ATTRIBUTES,
        *PLURALS.values(),
        *COUNTS.values(),
        *(value for values in ATTRIBUTES.values() for value in values),
        *VERBS["how_to"],
        *VERBS["adversarial"],
        *(noun for kind in kinds for noun in NOUNS[kind]),
        *(method.split()[-1] for kind in kinds for method in METHODS[kind]),
        *INSTRUCTION_WORDS,
        *PERSONAS,
        *PERSONAS.values(),
    ]
    assert [word for word, times in Counter(roles).items() if times > 1] == []
