"""Drawing responses: one prefill per prompt, a temperature and random numbers a row, finished rows leave the batch,
log-probabilities are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig

from models.config import SamplingConfig
from models.devices import device_of
from models.kv_cache import roomy_cache, rows_that_stay
from models.lock_step import lock_step, without_gradients
from models.scoring import pad_left, positions_of
from models.seeds import derive_seed
from models.working_copy import working_copy

BLOCK = 256  # tokens whose probabilities are summed together; a row's own block and the sums of all are then short


@dataclass(frozen=True)
class Response:
    """One sampled response.

    `ids` end with an end of the turn where the model said one (`finished`); `logprobs` are of the distribution that was
    sampled from, temperature included, one per id.
    """

    ids: list[int]
    logprobs: list[float]
    finished: bool


@dataclass(frozen=True)
class Request:
    """A prompt, a temperature for each response to it, and the seed of their random numbers.

    A response depends on these and on the model alone: not on what it is decoded with, nor in which process.
    """

    ids: Sequence[int]
    temperatures: tuple[float, ...]
    seed: int


def ask(prompts: Sequence[Sequence[int]], temperatures: Sequence[float], seed: int) -> list[Request]:
    """Each prompt at the same temperatures, with random numbers by its place."""
    return [Request(ids, tuple(temperatures), derive_seed(seed, "prompt", i)) for i, ids in enumerate(prompts)]


def sample(
    model: nn.Module,
    requests: Sequence[Request],
    config: SamplingConfig,
    *,
    end_ids: Sequence[int],
    pad_id: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[list[Response]]:
    """The responses to each request, one a temperature, drawn from the full distribution.

    There is no top-p or top-k: log-probabilities of a cut distribution are not those of the policy, and PPO would learn
    from wrong ratios. A response ends with the first of `end_ids` that it says. At most `config.batch_size` responses
    to prompts of like length are decoded together (those to one prompt always are); `config.temperature` counts for
    nothing here. All processes over which a model is spread must sample at once, each what it likes. Raises ValueError
    for a prompt that leaves no room in the context.
    """
    limit: int = cast(PreTrainedConfig, model.config).max_position_embeddings
    require_room(requests, limit)
    batches = _batches(requests, config.batch_size)
    results: list[list[Response]] = [[] for _ in requests]
    was_training, done = model.training, 0
    model.eval()
    try:
        with lock_step(model), working_copy(model, tokens=len(batches) * config.max_new_tokens):
            for rows in batches:
                batch = [requests[i] for i in rows]
                room = [min(config.max_new_tokens, limit - len(request.ids)) for request in batch]
                with without_gradients(model):
                    drawn = _decode(model, batch, room, end_ids, pad_id)
                for i, responses in zip(rows, drawn, strict=True):
                    results[i] = responses
                done += len(rows)
                on_progress(done / len(requests))
    finally:
        model.train(was_training)
    return results


def require_room(requests: Sequence[Request], limit: int) -> None:
    """Raise ValueError for a prompt that leaves no room for an answer in a context of `limit` tokens."""
    for i, request in enumerate(requests):
        if not request.ids or len(request.ids) >= limit:
            raise ValueError(
                f"prompt {i + 1} has {len(request.ids)} tokens; the context holds {limit}, answer included"
            )


def _batches(requests: Sequence[Request], size: int) -> list[list[int]]:
    """Numbers of the requests that are decoded together: of like length, with at most `size` responses."""
    batches: list[list[int]] = []
    held = size
    for i in sorted(range(len(requests)), key=lambda i: (len(requests[i].ids), i)):
        wanted = len(requests[i].temperatures)
        if held + wanted > size:
            batches.append([])
            held = 0
        batches[-1].append(i)
        held += wanted
    return batches


def uniforms(requests: Sequence[Request], count: int) -> torch.Tensor:
    """(responses, count) float64 in [0, 1): the n-th response to a request draws from stream n of its seed."""
    streams = [(request.seed, n) for request in requests for n in range(len(request.temperatures))]
    drawn = [np.random.Generator(np.random.Philox(key=np.array(key, np.uint64))).random(count) for key in streams]
    return torch.from_numpy(np.stack(drawn))


def draw_tokens(logprobs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """One token a row: the first whose cumulated probability is above `uniform` (inverse transform sampling).

    Args:
        logprobs: (rows, V) normalised log-probabilities.
        uniform: (rows,) float64 in [0, 1).

    Returns:
        (rows, 1) ids. A token of probability 0 is never drawn. Sums are in float64: in float32 those of a large
        vocabulary would lose its tail. First a block of BLOCK tokens is found by the sums of blocks, then the token in
        it: only one block a row is cumulated token by token.
    """
    missing = -logprobs.shape[1] % BLOCK
    blocks = nn.functional.pad(logprobs.exp(), (0, missing)).view(len(logprobs), -1, BLOCK)
    sums = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    wanted = uniform[:, None] * sums[:, -1:]
    block = _first_above(sums, wanted)
    before = nn.functional.pad(sums, (1, 0)).gather(1, block)
    (inside,) = blocks.gather(1, block[:, :, None].expand(-1, -1, BLOCK)).double().cumsum(-1).unbind(1)
    return block * BLOCK + _first_above(inside, wanted - before)


def _first_above(cumulated: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(rows, 1) places of the first of the cumulated sums (rows, N) above `wanted` (rows, 1); what rounding has put at
    the whole or above it counts as just below, where nothing is of probability 0."""
    whole = cumulated[:, -1:]
    below = torch.nextafter(whole, torch.zeros_like(whole))
    return torch.searchsorted(cumulated, wanted.minimum(below), right=True)


def _decode(
    model: nn.Module,
    requests: Sequence[Request],
    room: Sequence[int],
    end_ids: Sequence[int],
    pad_id: int,
) -> list[list[Response]]:
    """`room` is how many tokens each response may have."""
    device = device_of(model)
    longest = max(room)
    prompts = [request.ids for request in requests]
    ids, mask = (tensor.to(device) for tensor in pad_left(prompts, pad_id))  # every row speaks from the last column on
    cache = roomy_cache(cast(PreTrainedConfig, model.config), longest)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions_of(mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    counts = torch.tensor([len(request.temperatures) for request in requests], device=device)
    if int(counts.max()) > 1:  # one prefill serves all responses to a prompt
        cache.batch_repeat_interleave(counts)
        logits, mask = logits.repeat_interleave(counts, 0), mask.repeat_interleave(counts, 0)
    position = mask.sum(1)
    total = len(mask)
    temperatures = torch.tensor([t for request in requests for t in request.temperatures], device=device)[:, None]
    uniform = uniforms(requests, longest).to(device)
    allowed = torch.tensor(room, device=device).repeat_interleave(counts)
    tokens = torch.full((total, longest), pad_id, device=device)
    logprobs = torch.zeros((total, longest), device=device)
    lengths, finished = allowed.clone(), torch.zeros(total, dtype=torch.bool, device=device)
    alive = torch.arange(total, device=device)
    ends = torch.tensor(end_ids, device=device)
    for step in range(longest):
        scaled = torch.log_softmax(logits.float() / temperatures[alive], dim=-1)
        drawn = draw_tokens(scaled, uniform[alive, step])
        tokens[alive, step] = drawn[:, 0]
        logprobs[alive, step] = scaled.gather(1, drawn)[:, 0]
        ended = torch.isin(drawn[:, 0], ends)
        lengths[alive[ended]] = step + 1
        finished[alive[ended]] = True
        stopped = ended | (allowed[alive] == step + 1)
        if bool(stopped.all()):
            break
        if bool(stopped.any()):
            keep = rows_that_stay(stopped)
            cache.batch_select_indices(keep)
            alive, drawn, mask, position = alive[keep], drawn[keep], mask[keep], position[keep]
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        logits = model(
            input_ids=drawn, attention_mask=mask, position_ids=position[:, None], past_key_values=cache, use_cache=True
        ).logits[:, -1]
        position = position + 1
    held = zip(tokens.tolist(), logprobs.tolist(), lengths.tolist(), finished.tolist(), strict=True)
    each = iter([Response(ids[:length], numbers[:length], ended) for ids, numbers, length, ended in held])
    return [list(islice(each, len(request.temperatures))) for request in requests]
