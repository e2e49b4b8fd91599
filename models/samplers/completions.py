"""Completions of a vLLM server, read as what a stranger says: of these types and within these bounds, or refused."""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from models.generation import Response
from models.samplers.client import VllmError
from models.samplers.replies import Said, read

_LOWEST_LOGPROB = -1000.0  # vLLM writes -9999 for what it does not know
_ROUNDING = 1e-4  # above 0


class _Logprobs(Said):
    token_logprobs: list[FiniteFloat]


class _Choice(Said):
    token_ids: list[int]
    prompt_token_ids: list[int]
    logprobs: _Logprobs
    finish_reason: Literal["stop", "length"]


class _Completion(Said):
    choices: Annotated[list[_Choice], Field(min_length=1, max_length=1)]


def response_in(content: bytes, prompt: Sequence[int], room: int, ends: Collection[int], vocabulary: int) -> Response:
    """The one response in an answer: to this prompt, of 1 to `room` tokens of the vocabulary, with an end of the turn
    at its end alone, and shorter than `room` only where it has one; a log-probability for each token. Raises VllmError
    for any other."""
    (choice,) = read(_Completion, content).choices
    ids, logprobs = choice.token_ids, choice.logprobs.token_logprobs
    if choice.prompt_token_ids != list(prompt):
        raise _no_response("it is to another prompt")
    if not 1 <= len(ids) <= room:
        raise _no_response(f"it has {len(ids)} tokens, and 1 to {room} were asked for")
    if not all(0 <= each < vocabulary for each in ids):
        raise _no_response(f"it has ids outside of the vocabulary of {vocabulary}")
    if len(logprobs) != len(ids) or not all(_LOWEST_LOGPROB < each <= _ROUNDING for each in logprobs):
        raise _no_response("it has not one log-probability for each token")
    finished = ids[-1] in ends
    if any(each in ends for each in ids[:-1]) or (choice.finish_reason == "stop") != finished:
        raise _no_response("it goes on behind an end of the turn, or stops without one")
    if not finished and len(ids) < room:
        raise _no_response(f"it was cut at {len(ids)} of {room} tokens")
    return Response(ids, [min(each, 0.0) for each in logprobs], finished)


def _no_response(why: str) -> VllmError:
    return VllmError(f"vLLM's answer is no response: {why}")
