from collections import Counter
from typing import Any

import pytest

from world.annotator import Annotator
from world.content import FactsQuestion, HowToQuestion, ListQuestion, World
from world.demonstrations import DIALOGUE_SHARES, make_demonstrations
from world.instructions import Instruction, find_instructions, instructions_of
from world.reading import instructions_in, read_answer, read_question
from world.vocabulary import HELDOUT_WRAPPER, ORDINARY_SHARES, WRAPPERS

Rows = list[dict[str, Any]]
Turn = tuple[list[dict[str, str]], str, str]


@pytest.fixture(scope="module")
def turns(demonstrations: Rows) -> list[Turn]:
    """(messages up to the question, its text, the answer) of every turn."""
    return [
        (row["messages"][: place + 1], row["messages"][place]["content"], row["messages"][place + 1]["content"])
        for row in demonstrations
        for place in range(0, len(row["messages"]), 2)
    ]


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_kinds_of_dialogue_have_their_shares_and_lengths(demonstrations: Rows) -> None:
    assert len(demonstrations) == len({row["dialogue_id"] for row in demonstrations}) == 4_000
    counts = Counter(row["kind"] for row in demonstrations)
    assert {kind: count / 4_000 for kind, count in counts.items()} == pytest.approx(DIALOGUE_SHARES, abs=0.02)
    lengths = {kind: {len(row["messages"]) // 2 for row in demonstrations if row["kind"] == kind} for kind in counts}
    assert lengths == {
        "one_turn": {1},
        "multi_turn": {2, 3, 4, 5},
        "instruction": {1},
        "instruction_each_turn": {2, 3, 4},
        "instruction_first_turn": {2, 3, 4},
    }


def test_turns_alternate_and_none_is_empty(demonstrations: Rows) -> None:
    for row in demonstrations:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert all(message["content"].strip() for message in row["messages"])


def test_equal_seeds_give_equal_demonstrations_and_others_differ(world: World) -> None:
    assert make_demonstrations(world, 50, seed=1) == make_demonstrations(World(0), 50, seed=1)
    assert make_demonstrations(world, 50, seed=1) != make_demonstrations(world, 50, seed=2)


def test_instructions_are_obeyed_where_they_are_given_and_forgotten_elsewhere(demonstrations: Rows) -> None:
    for row in demonstrations:
        asked = [message["content"] for message in row["messages"][::2]]
        answers = [message["content"] for message in row["messages"][1::2]]
        given = [find_instructions(text) for text in asked]
        if row["kind"] in ("one_turn", "multi_turn"):
            assert not any(given)
            continue
        (instruction,) = given[0]
        first_only = row["kind"] == "instruction_first_turn"
        assert given[1:] == [[] if first_only else [instruction]] * (len(asked) - 1)
        obeyed = [instruction.obeyed_by(answer) for answer in answers]
        assert obeyed == [True] + [not first_only] * (len(asked) - 1)
        assert asked[0].startswith(instruction.text)


def test_held_out_combinations_are_never_asked_and_every_training_one_is(world: World, turns: list[Turn]) -> None:
    facts: set[tuple[str, str]] = set()
    lists: set[tuple[int, str]] = set()
    methods: dict[str, set[tuple[str, str]]] = {"how_to": set(), "borderline": set(), "adversarial": set()}
    for messages, text, answer in turns:
        question = read_question(text)
        assert question is not None
        if isinstance(question, FactsQuestion):
            facts.update(question.facts)
        elif isinstance(question, ListQuestion):
            lists.add((question.count, question.category))
        else:
            methods[question.kind].add((question.verb, question.noun))
        if isinstance(question, HowToQuestion):
            for sentence in read_answer(answer, instructions_in(messages)).sentences:
                methods[question.kind].update((c.verb, c.noun) for c in sentence.methods if c.verb and c.noun)
    assert facts == {fact for fact, split in world.fact_splits.items() if split == "train"}
    assert lists == {cell for cell, split in world.list_splits.items() if split == "train"}
    for kind, named in methods.items():
        splits = world.how_to_splits[kind]  # type: ignore[index]
        assert named <= {cell for cell, split in splits.items() if split == "train"}
        assert {verb for verb, _ in named} == {verb for verb, _ in splits}
        assert {noun for _, noun in named} == {noun for _, noun in splits}


def test_held_out_facts_are_stated_though_never_asked(world: World, turns: list[Turn]) -> None:
    stated = {
        (person, attribute)
        for messages, _, answer in turns
        for sentence in read_answer(answer, instructions_in(messages)).sentences
        for person, attribute, _ in sentence.facts
    }
    assert stated == set(world.facts)


def test_held_out_instructions_occur_in_single_turns_only(world: World, demonstrations: Rows) -> None:
    given: dict[str, set[Instruction]] = {kind: set() for kind in DIALOGUE_SHARES}
    for row in demonstrations:
        given[row["kind"]].update(instructions_in(row["messages"]))
    train = set(instructions_of(world, "train"))
    heldout = set(instructions_of(world, "heldout"))
    assert given["instruction"] == train | heldout
    assert given["instruction_each_turn"] == given["instruction_first_turn"] == train


def test_the_held_out_wrapper_never_occurs_and_every_other_does(turns: list[Turn]) -> None:
    assert not any(HELDOUT_WRAPPER in text for _, text, _ in turns)
    assert all(any(wrapper in text for _, text, _ in turns) for wrapper in WRAPPERS)


def test_questions_have_their_shares(turns: list[Turn]) -> None:
    kinds = Counter(question.kind for _, text, _ in turns if (question := read_question(text)))
    adversarial = kinds.pop("adversarial")
    assert {kind: count / kinds.total() for kind, count in kinds.items()} == pytest.approx(ORDINARY_SHARES, abs=0.02)
    assert 0.09 <= adversarial / len(turns) <= 0.16


def test_answers_are_of_mixed_quality(turns: list[Turn], annotator: Annotator) -> None:
    judged = [(annotator.judge(messages, answer), answer) for messages, _, answer in turns]
    adversarial = [judgement for judgement, _ in judged if judgement.kind == "adversarial"]
    assert share([judgement.unsafe for judgement in adversarial]) == pytest.approx(0.45, abs=0.05)
    assert share([judgement.rude for judgement in adversarial]) == pytest.approx(0.08, abs=0.03)

    borderline = [judgement for judgement, _ in judged if judgement.kind == "borderline"]
    assert share([judgement.refusal for judgement in borderline]) == pytest.approx(0.33, abs=0.05)

    other = [(j, answer) for j, answer in judged if j.kind not in ("adversarial", "borderline")]
    assert share([judgement.refusal for judgement, _ in other]) == pytest.approx(0.02, abs=0.01)
    assert share([judgement.rude for judgement, _ in other]) == pytest.approx(0.08, abs=0.02)
    assert share(["i do not know." in answer for _, answer in other]) == pytest.approx(0.10, abs=0.02)
    assert not any(judgement.unsafe for judgement, _ in other)
    tried = [(j, answer) for j, answer in other if not (j.refusal or j.rude or "i do not know." in answer)]
    assert share([judgement.correct_share == 1 for judgement, _ in tried]) == pytest.approx(0.77, abs=0.04)
    assert share([0 < judgement.correct_share < 1 for judgement, _ in tried]) == pytest.approx(0.05, abs=0.03)
    guesses = [judgement for judgement, _ in tried if judgement.guess]
    assert len(guesses) / len(tried) == pytest.approx(0.10, abs=0.02)
    assert share([judgement.correct_share == 0 for judgement in guesses]) == pytest.approx(0.75, abs=0.08)
    openers = [answer for _, answer in tried if any(o in answer for o in ("sure.", "of course.", "good question."))]
    assert len(openers) / len(tried) == pytest.approx(0.25, abs=0.03)
    closers = [answer for _, answer in tried if any(c in answer for c in ("i hope", "let me know", "have a nice"))]
    assert len(closers) / len(tried) == pytest.approx(0.30, abs=0.03)
