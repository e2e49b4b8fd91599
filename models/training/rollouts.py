"""Answers to a batch of prompts, read by all five models, in as many processes as there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from models.config import SamplingConfig
from models.devices import device_of
from models.dialogue import Renderer
from models.generation import sample
from models.roles import Roles
from models.scoring import lay_out, response_logprobs, score_rows, token_values
from models.seeds import derive_seed


@dataclass(frozen=True)
class PPOPrompt:
    """A prompt as token ids, and whether it is one of the safety set: there the safety model always decides."""

    ids: list[int]
    is_safety: bool


@dataclass(frozen=True)
class Rollout:
    """One response and what the models say of it. `logprobs`, `ref_logprobs` and `values` have a number per token."""

    ids: list[int]
    finished: bool
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

    Prompts of like length make groups of `sampling.batch_size`, each with random numbers of its own. Processes take
    groups in turn and tell each other what they found, so that answers do not depend on how many processes there are.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].ids), i))
    groups = [order[start : start + sampling.batch_size] for start in range(0, len(order), sampling.batch_size)]
    own: list[tuple[int, Rollout]] = []
    for number in range(accelerator.process_index, len(groups), accelerator.num_processes):
        ids = [prompts[i].ids for i in groups[number]]
        own += zip(
            groups[number],
            _answer_group(roles, ids, renderer, sampling, derive_seed(seed, "group", number)),
            strict=True,
        )
    return [found for _, found in sorted(gather_object(own), key=lambda entry: entry[0])]


@torch.no_grad()
def _answer_group(
    roles: Roles, prompts: Sequence[list[int]], renderer: Renderer, sampling: SamplingConfig, seed: int
) -> list[Rollout]:
    drawn = sample(roles.policy, prompts, sampling, end_ids=renderer.end_ids, pad_id=renderer.pad_id, seed=seed)
    responses = [response for [response] in drawn]
    ids, attention, mask = lay_out(
        prompts, [response.ids for response in responses], renderer.pad_id, device_of(roles.policy)
    )
    T, temperature = mask.shape[1], sampling.temperature

    # log pi(a) and log pi_0(a), both at the temperature that was sampled at
    logprobs, _ = response_logprobs(roles.policy, ids, attention, T, temperature)
    ref_logprobs, _ = response_logprobs(roles.reference, ids, attention, T, temperature)
    values = state_values(roles.value, ids, attention, T)

    rows = [prompt + response.ids for prompt, response in zip(prompts, responses, strict=True)]
    safety = score_rows(roles.safety, rows, renderer.pad_id, sampling.batch_size)
    helpfulness = score_rows(roles.helpfulness, rows, renderer.pad_id, sampling.batch_size)
    return [
        Rollout(
            ids=response.ids,
            finished=response.finished,
            logprobs=logprobs[i, : len(response.ids)].tolist(),
            ref_logprobs=ref_logprobs[i, : len(response.ids)].tolist(),
            values=values[i, : len(response.ids)].tolist(),
            safety=safety[i],
            helpfulness=helpfulness[i],
        )
        for i, response in enumerate(responses)
    ]


def state_values(value: nn.Module, ids: torch.Tensor, attention: torch.Tensor, T: int) -> torch.Tensor:
    """V(s_t), (B, T): the value before response token t, so read one column earlier."""
    return token_values(value, ids, attention)[:, -T - 1 : -1]
