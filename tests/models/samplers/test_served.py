"""How a server is asked, and when it is believed: a server of the test's own answers with torch's log-probabilities, or
with others."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.generation import Request, sample
from models.samplers.client import Client, VllmError, http_client
from models.samplers.config import VllmConfig
from models.samplers.served import BOUNDS, Called, ServedPolicy
from models.seeds import derive_seed
from tests.models.samplers.wrong_server import Answer, Asked, answering, says

SAMPLING = SamplingConfig(max_new_tokens=5, batch_size=3)


@pytest.fixture(scope="module")
def policy(served_folders: dict[str, Path]) -> nn.Module:
    return load_policy(served_folders["one"])


def torch_answers(policy: nn.Module, off: float, first: float, heard: list[dict[str, Any]]) -> Answer:
    """Draws by torch, as it is asked; each log-probability is `off` by so much, the first by so much more."""

    def answer(request: Asked) -> None:
        asked = json.loads(request.body)
        heard.append(asked)
        one = Request(asked["prompt"], (asked["temperature"],), asked["seed"])
        config = SAMPLING.model_copy(update={"max_new_tokens": asked["max_tokens"]})
        ((drawn,),) = sample(policy, [one], config, end_ids=asked["stop_token_ids"] or [-1], pad_id=0)
        choice = {
            "token_ids": drawn.ids,
            "prompt_token_ids": asked["prompt"],
            "logprobs": {"token_logprobs": [each - off - (0 if i else first) for i, each in enumerate(drawn.logprobs)]},
            "finish_reason": "stop" if drawn.finished else "length",
        }
        says(json.dumps({"choices": [choice]}).encode())(request)

    return answer


@contextmanager
def served(
    policy: nn.Module,
    heard: list[dict[str, Any]],
    off: float = 0.0,
    first: float = 0.0,
    dtype: str = "float32",
    context: int = 256,
) -> Iterator[ServedPolicy]:
    with answering({"/v1/completions": torch_answers(policy, off, first, heard)}) as (url, _):
        config = VllmConfig(url=url, retries=0)
        with http_client(config) as http:
            client = Client(http, config, lambda: None)
            yield ServedPolicy(client, Called("base", context, "salt"), policy, dtype, print)


Draw = Callable[..., list[list[list[int]]]]


@pytest.fixture
def draw(policy: nn.Module, renderer: Renderer) -> Draw:
    def drawn(asked: list[Request], heard: list[dict[str, Any]], **settings: Any) -> list[list[list[int]]]:
        with served(policy, heard, **settings) as speaker:
            found = speaker.sample(asked, SAMPLING, end_ids=renderer.end_ids)
        return [[one.ids for one in responses] for responses in found]

    return drawn


ASKED = [Request([1, 7, 9], (0.7, 1.0), 3), Request([1, 5], (1.3,), 4)]


@pytest.mark.conformance(
    "an answer depends on what a server is asked beside it", equation="models.samplers.served:ServedPolicy.sample"
)
def test_each_response_is_asked_for_by_a_seed_of_its_own_whatever_else_is_asked(draw: Draw) -> None:
    heard: list[dict[str, Any]] = []
    together = draw(ASKED, heard)
    assert [len(responses) for responses in together] == [2, 1]
    wanted = {
        (0.7, derive_seed(3, "response", 0)),
        (1.0, derive_seed(3, "response", 1)),
        (1.3, derive_seed(4, "response", 0)),
    }
    assert {(each["temperature"], each["seed"]) for each in heard[1:]} == wanted
    assert draw(ASKED[1:], []) == together[1:]


def test_the_whole_distribution_is_asked_for_and_the_ends_of_the_template_alone(draw: Draw, renderer: Renderer) -> None:
    heard: list[dict[str, Any]] = []
    draw(ASKED[:1], heard)
    cuts = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "ignore_eos": True, "stop": []}
    for each in heard:
        assert {name: each[name] for name in cuts} == cuts
    assert [each["stop_token_ids"] for each in heard] == [[], *[list(renderer.end_ids)] * 2]
    assert {each["cache_salt"] for each in heard} == {"salt"}


@pytest.mark.conformance(
    "a server that has the weights of before answers for the new ones",
    equation="models.samplers.served:ServedPolicy._compare",
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_server_is_believed_within_the_bound_of_its_precision_and_asked_for_nothing_beyond_it(
    draw: Draw, dtype: str
) -> None:
    draw(ASKED, [], off=0.9 * BOUNDS[dtype], dtype=dtype)
    heard: list[dict[str, Any]] = []
    with pytest.raises(VllmError, match=r"of 16 tokens are .* it answers with other weights"):
        draw(ASKED, heard, off=1.1 * BOUNDS[dtype], dtype=dtype)
    assert [(each["max_tokens"], each["temperature"]) for each in heard] == [(16, 0.7)]


def test_one_token_may_be_rounded_far_in_bfloat16_and_in_float32_none(draw: Draw) -> None:
    """.5 of one token is .03 in the mean of 16."""
    draw(ASKED, [], first=0.5, dtype="bfloat16")
    with pytest.raises(VllmError, match=r"of 16 tokens are 0\.5 from torch's .* and 0\.001 is allowed"):
        draw(ASKED, [], first=0.5, dtype="float32")


def test_it_is_compared_once_and_where_there_is_little_room_by_as_many_tokens_as_there_are(
    policy: nn.Module, renderer: Renderer
) -> None:
    heard: list[dict[str, Any]] = []
    with served(policy, heard, context=16) as speaker:
        for _ in range(2):
            speaker.sample([replace(ASKED[1], ids=[1] * 11)], SAMPLING, end_ids=renderer.end_ids)
    assert [each["max_tokens"] for each in heard] == [5, 5, 5]


def test_no_request_is_no_question(draw: Draw) -> None:
    heard: list[dict[str, Any]] = []
    assert draw([], heard) == []
    assert heard == []
