"""Answers to a batch of prompts, read by all five models, in as many processes as there are."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from models.config import SamplingConfig
from models.devices import device_of
from models.dialogue import Renderer
from models.generation import Request, Response, ask, sample
from models.lock_step import is_sharded
from models.responses import ResponseBatch, lay_responses, read_logprobs, read_scores, read_values
from models.roles import Roles
from models.working_copy import fast_reading


@dataclass(frozen=True)
class PPOPrompt:
    """A prompt as token ids, and whether it is one of the safety set: there the safety model always decides."""

    ids: list[int]
    is_safety: bool


@dataclass(frozen=True)
class Rollout:
    """One response and what the models say of it. `logprobs`, `ref_logprobs` and `values` have a number per token, and
    so have `drawn_logprobs`, which are those of whoever has drawn it."""

    ids: list[int]
    finished: bool
    drawn_logprobs: list[float]
    logprobs: list[float]
    ref_logprobs: list[float]
    values: list[float]
    safety: float
    helpfulness: float


def answer(
    roles: Roles,
    prompts: Sequence[PPOPrompt],
    renderer: Renderer,
    sampling: SamplingConfig,
    accelerator: Accelerator,
    seed: int,
) -> list[Rollout]:
    """One answer to each prompt, in order and in every process.

    Prompts of like length make even groups of at most `sampling.batch_size`, at least one for each process. Processes
    take groups in turn and tell each other what they found; answers do not depend on how many there are. Of models that
    are spread over the processes each pass needs all of them: who has no group left in a turn answers the last one
    again, for nothing.
    """
    requests = ask([prompt.ids for prompt in prompts], [sampling.temperature], seed)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].ids), i))
    count = max(accelerator.num_processes, -(-len(order) // sampling.batch_size))
    size = -(-len(order) // count)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    drawn: list[Response] = []
    if roles.server is not None:
        here = accelerator.is_main_process
        drawn = roles.server.draw(roles.policy, renderer, requests, sampling, here=here)
    own: list[tuple[int, Rollout]] = []
    for turn in range(0, len(groups), accelerator.num_processes):
        number = turn + accelerator.process_index
        group = groups[min(number, len(groups) - 1)]
        if number < len(groups) or is_sharded(roles.policy):
            asked, said = [requests[i] for i in group], [drawn[i] for i in group] if drawn else None
            found = _answer_group(roles, asked, said, renderer, sampling)
            own += zip(group, found, strict=True) if number < len(groups) else ()
    return [found for _, found in sorted(gather_object(own), key=lambda entry: entry[0])]


@torch.no_grad()
def _answer_group(
    roles: Roles,
    requests: Sequence[Request],
    responses: Sequence[Response] | None,
    renderer: Renderer,
    sampling: SamplingConfig,
) -> list[Rollout]:
    """`responses` are those that a server has drawn."""
    if responses is None:
        drawn = sample(roles.policy, requests, sampling, end_ids=renderer.end_ids, pad_id=renderer.pad_id)
        responses = [response for [response] in drawn]
    where = device_of(roles.policy)
    asked, said = [request.ids for request in requests], [response.ids for response in responses]
    batch = lay_responses(asked, said, renderer.pad_id, roles.row_cost, where)
    with ExitStack() as merged:
        for model in roles.models:
            merged.enter_context(fast_reading(model))
        return _read(roles, batch, responses, sampling.temperature)


def _read(roles: Roles, batch: ResponseBatch, responses: Sequence[Response], temperature: float) -> list[Rollout]:
    """What the models say of the responses."""
    # log pi(a) and log pi_0(a), both at the temperature that was sampled at. What the sampler kept is what a reading
    # gives, to rounding, and that of bfloat16 is too coarse: it would move the first ratio by a hundredth. A server's
    # is another engine's.
    logprobs = drawn = [response.logprobs for response in responses]
    if roles.server is not None or torch.is_autocast_enabled(batch.mask.device.type):
        read, _ = read_logprobs(roles.policy, batch, temperature)
        logprobs = _of_each(read, responses)
    ref_logprobs, _ = read_logprobs(roles.reference, batch, temperature)
    values = read_values(roles.value, batch)
    return [
        Rollout(response.ids, response.finished, *numbers)
        for response, *numbers in zip(
            responses,
            drawn,
            logprobs,
            _of_each(ref_logprobs, responses),
            _of_each(values, responses),
            read_scores(roles.safety, batch).tolist(),
            read_scores(roles.helpfulness, batch).tolist(),
            strict=True,
        )
    ]


def _of_each(numbers: torch.Tensor, responses: Sequence[Response]) -> list[list[float]]:
    """(N, T) numbers as a list for each response."""
    return [row[: len(response.ids)] for row, response in zip(numbers.tolist(), responses, strict=True)]
