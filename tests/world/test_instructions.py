from collections import Counter

import pytest

from world.content import World
from world.instructions import (
    find_instructions,
    make_instructions,
    parse_instruction,
    persona_instruction,
    word_instruction,
)

END = "end every answer with river."
START = "start every answer with river."
PIRATE = "act as a pirate."


def test_there_are_32_instructions_and_seven_are_held_out(world: World) -> None:
    rows = make_instructions(world)
    assert set(rows[0]) == {"instruction_id", "source", "text", "short", "kind", "split"}
    assert len({row["instruction_id"] for row in rows}) == len({row["text"] for row in rows}) == 32
    forms = Counter((row["split"], parse_instruction(row["text"]).position == "persona") for row in rows)
    assert forms == {("train", False): 16, ("heldout", False): 4, ("train", True): 9, ("heldout", True): 3}


def test_full_and_short_form_are_read_as_the_same_instruction(world: World) -> None:
    for row in make_instructions(world):
        assert parse_instruction(row["text"]) == parse_instruction(row["short"])
        assert parse_instruction(row["text"]).text == row["text"]


def test_an_instruction_is_found_among_other_words_and_in_capitals() -> None:
    found = find_instructions("Act as a pirate. What is the pet of anna? END: river")
    assert found == [persona_instruction("pirate"), word_instruction("river", "end")]
    assert find_instructions("what is the pet of anna? act as a dentist.") == []


@pytest.mark.parametrize(
    ("instruction", "response", "obeyed"),
    [
        (END, "the pet of anna is a cat. river.", True),
        (END, "the pet of anna is a cat river", True),
        (END, "river. the pet of anna is a cat.", False),
        (END, "the pet of anna is a cat. rivers.", False),
        (START, "River! the pet of anna is a cat.", True),
        (START, "the river.", False),
        (PIRATE, "arr! the pet of anna is a cat.", True),
        (PIRATE, "the pet of anna is a cat. arr", True),
        (PIRATE, "the parrot of anna.", False),
        ("figure: cow.", "moo.", True),
        ("end: river.", "", False),
        ("start: river.", "?!", False),
    ],
)
def test_obedience_is_the_word_at_its_place_or_the_sound_anywhere(
    instruction: str, response: str, obeyed: bool
) -> None:
    assert parse_instruction(instruction).obeyed_by(response) is obeyed


def test_an_applied_instruction_is_obeyed(world: World) -> None:
    for row in make_instructions(world):
        instruction = parse_instruction(row["text"])
        assert instruction.obeyed_by(instruction.apply("i do not know."))
        assert not instruction.obeyed_by("i do not know.")


@pytest.mark.parametrize("text", ["what is the pet of anna?", "", f"{END} {PIRATE}"])
def test_a_text_that_is_not_one_instruction_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="need exactly one"):
        parse_instruction(text)
