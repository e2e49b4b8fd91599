"""Ghost Attention."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.gatt import gatt_loss_mask, place_instruction

DIALOGUE = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Ahoy"},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A pirate."},
]


def test_instruction_goes_to_every_user_message_for_sampling() -> None:
    placed = place_instruction(DIALOGUE, "Act as a pirate.", "every")
    contents = ["Be kind.", "Act as a pirate. Hi", "Ahoy", "Act as a pirate. Who are you?", "A pirate."]
    assert [message["content"] for message in placed] == contents
    assert [message["role"] for message in placed] == [message["role"] for message in DIALOGUE]


@pytest.mark.conformance("GAtt", equation="models.algorithms.gatt:place_instruction")
def test_instruction_stays_in_turn_1_only_for_training() -> None:
    placed = place_instruction(DIALOGUE, "Act as a pirate.", "first", separator="\n")
    contents = [message["content"] for message in placed]
    assert contents == ["Be kind.", "Act as a pirate.\nHi", "Ahoy", "Who are you?", "A pirate."]
    assert DIALOGUE[1]["content"] == "Hi"


@pytest.mark.conformance("GAtt", equation="models.algorithms.gatt:gatt_loss_mask")
def test_loss_only_on_the_last_answer_and_none_on_assistant_tokens_of_earlier_turns() -> None:
    mask = gatt_loss_mask(["user", "assistant", "user", "assistant"], [3, 2, 1, 4])
    assert mask.tolist() == [False] * 6 + [True] * 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4), st.integers(0, 5), st.integers(1, 5))
def test_the_number_of_learned_tokens_is_that_of_the_last_message(
    turns: list[tuple[int, int]], last_user: int, last_assistant: int
) -> None:
    counts = [count for turn in turns for count in turn] + [last_user, last_assistant]
    mask = gatt_loss_mask(["user", "assistant"] * (len(turns) + 1), counts)
    assert len(mask) == sum(counts)
    assert int(mask.sum()) == last_assistant
    assert mask[-last_assistant:].all()


@pytest.mark.parametrize(
    ("roles", "counts", "message"),
    [
        (["user"], [3], "last message must be the assistant's"),
        ([], [], "last message must be the assistant's"),
        (["user", "assistant"], [3, 0], "all-zero loss mask"),
        (["user", "assistant"], [3], "2 roles but 1"),
        (["human", "assistant"], [3, 1], "unknown role 'human'"),
        (["user", "assistant"], [-1, 1], "negative"),
    ],
)
@pytest.mark.conformance("all-zero loss mask", equation="models.algorithms.gatt:gatt_loss_mask")
def test_dialogues_that_cannot_be_learned_from_are_refused(roles: list[str], counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gatt_loss_mask(roles, counts)


def test_wrong_places_and_empty_instructions_are_refused() -> None:
    with pytest.raises(ValueError, match="every or first"):
        place_instruction(DIALOGUE, "Act as a pirate.", "last")
    with pytest.raises(ValueError, match="empty"):
        place_instruction(DIALOGUE, "  ", "first")
    with pytest.raises(ValueError, match="no user message"):
        place_instruction(DIALOGUE[:1], "Act as a pirate.", "first")
    with pytest.raises(ValueError, match="unknown role"):
        place_instruction([{"role": "human", "content": "Hi"}], "Act as a pirate.", "first")
