import math

import pytest

from models.algorithms.context_distillation import where_scores_rise, with_preprompt

ASKED = [
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "said"},
    {"role": "user", "content": "last"},
]
WITH_SYSTEM = [{"role": "system", "content": "be brief"}, *ASKED]


def test_the_preprompt_stands_before_the_first_user_message_and_nothing_else_changes() -> None:
    assert with_preprompt(ASKED, "be safe.", "user") == [{"role": "user", "content": "be safe. first"}, *ASKED[1:]]
    assert with_preprompt(WITH_SYSTEM, "be safe.", "user")[:2] == [
        WITH_SYSTEM[0],
        {"role": "user", "content": "be safe. first"},
    ]


def test_in_the_system_message_it_stands_before_what_that_says_already() -> None:
    assert with_preprompt(ASKED, "be safe.", "system") == [{"role": "system", "content": "be safe."}, *ASKED]
    found = with_preprompt(WITH_SYSTEM, "be safe.", "system")
    assert found == [{"role": "system", "content": "be safe. be brief"}, *ASKED]


def test_the_prompt_itself_is_left_as_it_was() -> None:
    with_preprompt(WITH_SYSTEM, "be safe.", "user")
    with_preprompt(WITH_SYSTEM, "be safe.", "system")
    assert [message["content"] for message in WITH_SYSTEM] == ["be brief", "first", "said", "last"]


def test_without_a_preprompt_or_a_user_there_is_nothing_to_distil() -> None:
    with pytest.raises(ValueError, match="empty"):
        with_preprompt(ASKED, "  ", "user")
    with pytest.raises(ValueError, match="no user message"):
        with_preprompt([ASKED[1]], "be safe.", "user")


@pytest.mark.conformance(
    "context distillation of every answer", equation="models.algorithms.context_distillation:where_scores_rise"
)
def test_only_a_higher_score_is_a_rise() -> None:
    assert where_scores_rise([1.0, 0.5, -2.0, 0.0], [1.5, 0.5, -3.0, 1e-9]) == [0, 3]
    assert where_scores_rise([], []) == []
    # what rises one way falls the other way, and equals rise neither way
    a, b = [0.3, 2.0, -1.0], [0.3, 1.0, 4.0]
    assert where_scores_rise(a, b) == [2]
    assert where_scores_rise(b, a) == [1]


def test_scores_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores without a pre-prompt and 1 with one"):
        where_scores_rise([1.0, 2.0], [1.0])
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="prompt 1"):
            where_scores_rise([0.0, 0.0], [0.0, bad])
