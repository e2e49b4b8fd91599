"""What a server may say: one response as it was asked for, and nothing else."""

import json
from typing import Any

import pytest

from models.generation import Response
from models.samplers.client import VllmError
from models.samplers.completions import response_in

PROMPT, ROOM, ENDS, VOCABULARY = (5, 6), 3, (2,), 10


def completion(**changed: Any) -> bytes:
    choice = {
        "token_ids": [7, 8, 2],
        "prompt_token_ids": [5, 6],
        "logprobs": {"token_logprobs": [-0.5, -1.5, -0.25], "tokens": ["a", "b", "c"]},
        "finish_reason": "stop",
        "text": "ab",
    }
    return json.dumps({"id": "1", "choices": [choice | changed]}).encode()


def read(content: bytes) -> Response:
    return response_in(content, PROMPT, ROOM, ENDS, VOCABULARY)


def lengths(*numbers: float) -> dict[str, list[float]]:
    return {"token_logprobs": list(numbers)}


def test_a_response_is_its_ids_and_log_probabilities_and_is_finished_where_it_ends_with_an_end() -> None:
    assert read(completion()) == Response([7, 8, 2], [-0.5, -1.5, -0.25], True)
    cut = completion(token_ids=[7, 8, 9], finish_reason="length")
    assert read(cut) == Response([7, 8, 9], [-0.5, -1.5, -0.25], False)


def test_rounding_above_a_probability_of_one_is_one() -> None:
    assert read(completion(logprobs=lengths(5e-5, -1, -1))).logprobs == [0.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"token_ids": []}, "it has 0 tokens"),
        ({"token_ids": [7] * 4, "logprobs": lengths(*[-1.0] * 4)}, "it has 4 tokens, and 1 to 3"),
        ({"token_ids": [7, 8, 10]}, "outside of the vocabulary of 10"),
        ({"token_ids": [7, -1, 2]}, "outside of the vocabulary of 10"),
        ({"token_ids": [7, 8.0, 2]}, "token_ids.1: Input should be a valid integer"),
        ({"token_ids": [7, True, 2]}, "token_ids.1: Input should be a valid integer"),
        ({"token_ids": None}, "token_ids"),
        ({"prompt_token_ids": [1, 5, 6]}, "it is to another prompt"),
        ({"logprobs": lengths(-1, -1)}, "one log-probability for each token"),
        ({"logprobs": lengths(-1, -1, 0.5)}, "one log-probability for each token"),
        ({"logprobs": lengths(-1, -9999.0, -1)}, "one log-probability for each token"),
        ({"logprobs": lengths(-1, float("nan"), -1)}, "finite number"),
        ({"logprobs": lengths(-1, float("-inf"), -1)}, "finite number"),
        ({"logprobs": None}, "logprobs"),
        ({"token_ids": [7, 2, 2]}, "goes on behind an end"),
        ({"token_ids": [7, 8, 9]}, "stops without one"),
        ({"finish_reason": "length"}, "stops without one"),
        ({"finish_reason": "abort"}, "finish_reason"),
        ({"token_ids": [7, 8], "logprobs": lengths(-1, -1), "finish_reason": "length"}, "it was cut at 2 of 3 tokens"),
    ],
)
@pytest.mark.conformance("a server's answer is taken as it comes", equation="models.samplers.completions:response_in")
def test_what_cannot_be_a_response_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(VllmError, match=why):
        read(completion(**changed))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"choices": []}', b"\xff", json.dumps({"choices": 1}).encode()]
)
def test_what_is_no_completion_is_refused(content: bytes) -> None:
    with pytest.raises(VllmError, match="is not what was asked for"):
        read(content)


def test_more_than_one_choice_is_refused() -> None:
    twice = json.loads(completion())
    with pytest.raises(VllmError, match="choices"):
        read(json.dumps({"choices": twice["choices"] * 2}).encode())
