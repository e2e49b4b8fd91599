from collections import Counter
from typing import Any

import pytest

from world.config import WorldConfig
from world.content import FactsQuestion, ListQuestion, World
from world.prompts import make_prompts
from world.reading import read_question
from world.vocabulary import HELDOUT_WRAPPER, NOUNS, ORDINARY_SHARES, PEOPLE, VERBS, WRAPPERS

Rows = list[dict[str, Any]]


def texts(rows: Rows, **wanted: str) -> list[str]:
    return [
        row["messages"][-1]["content"] for row in rows if all(row[field] == value for field, value in wanted.items())
    ]


def test_each_split_has_the_prompts_that_the_config_asks_for(prompts: Rows) -> None:
    config = WorldConfig()
    counts = Counter((row["split"], row["axis"]) for row in prompts)
    assert counts == {
        ("train", "helpfulness"): config.train_ordinary,
        ("train", "safety"): config.train_adversarial,
        ("validation", "helpfulness"): config.validation_ordinary,
        ("validation", "safety"): config.validation_adversarial,
        ("heldout", "helpfulness"): config.heldout_ordinary + config.heldout_borderline,
        ("heldout", "safety"): config.heldout_adversarial,
    }
    assert len({row["prompt_id"] for row in prompts}) == len(prompts)
    fields = {"prompt_id", "source", "kind", "axis", "split", "messages"}
    assert all(set(row) == fields and row["messages"][-1]["role"] == "user" for row in prompts)


def test_ordinary_prompts_have_their_shares(prompts: Rows) -> None:
    kinds = Counter(row["kind"] for row in prompts if row["split"] == "train" and row["axis"] == "helpfulness")
    assert {kind: count / kinds.total() for kind, count in kinds.items()} == pytest.approx(ORDINARY_SHARES, abs=0.025)


def test_a_prompt_is_of_its_kind_and_its_combinations_are_of_its_split(world: World, prompts: Rows) -> None:
    for row in prompts:
        question = read_question(row["messages"][-1]["content"])
        assert question is not None
        assert question.kind == row["kind"]
        assert (row["axis"] == "safety") == (question.kind == "adversarial")
        if isinstance(question, FactsQuestion):
            assert {world.fact_splits[fact] for fact in question.facts} == {row["split"]}
        elif isinstance(question, ListQuestion):
            assert world.list_splits[question.count, question.category] == row["split"]
        else:
            assert world.how_to_splits[question.kind][question.verb, question.noun] == row["split"]


def test_train_prompts_contain_every_atom(prompts: Rows) -> None:
    words = {word.strip(".?") for text in texts(prompts, split="train") for word in text.split()}
    for kind in VERBS:
        assert words >= set(VERBS[kind]) | set(NOUNS[kind])
    assert words >= {*PEOPLE, "two", "three", "four", "pets", "jobs"}


def test_no_text_is_in_two_splits(prompts: Rows) -> None:
    splits = [set(texts(prompts, split=split)) for split in ("train", "validation", "heldout")]
    assert sum(map(len, splits)) == len(set().union(*splits))


def test_a_text_is_repeated_only_when_all_others_of_its_kind_are_used(prompts: Rows) -> None:
    for split, kind in (("train", "fact"), ("train", "list"), ("heldout", "borderline"), ("heldout", "how_to")):
        times = Counter(texts(prompts, split=split, kind=kind))
        assert max(times.values()) - min(times.values()) <= 1


def test_the_held_out_wrapper_is_made_of_known_words_and_stands_in_held_out_prompts_only(prompts: Rows) -> None:
    assert set(HELDOUT_WRAPPER.split()) <= {word for wrapper in WRAPPERS for word in wrapper.split()} | {"class."}
    wrapped = Counter(row["split"] for row in prompts if HELDOUT_WRAPPER in row["messages"][-1]["content"])
    assert set(wrapped) == {"heldout"}
    train = texts(prompts, split="train", kind="adversarial")
    shares = [sum(wrapper in text for text in train) / len(train) for wrapper in WRAPPERS]
    assert sum(shares) == pytest.approx(0.4, abs=0.05)
    assert min(shares) > 0.06


def test_equal_seeds_give_equal_prompts_and_others_differ(world: World, prompts: Rows) -> None:
    assert make_prompts(World(0), seed=0) == prompts
    assert make_prompts(world, seed=1) != prompts


def test_counts_can_be_small(world: World) -> None:
    rows = make_prompts(
        world,
        seed=0,
        train_ordinary=5,
        train_adversarial=3,
        validation_ordinary=0,
        validation_adversarial=0,
        heldout_ordinary=2,
        heldout_borderline=1,
        heldout_adversarial=1,
    )
    assert Counter(row["split"] for row in rows) == {"train": 8, "heldout": 4}
