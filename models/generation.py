"""Drawing responses: one prefill per prompt, finished rows leave the batch, log-probabilities are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedConfig

from models.config import SamplingConfig
from models.devices import device_of
from models.kv_cache import roomy_cache, rows_that_stay
from models.scoring import pad_left, positions_of


@dataclass(frozen=True)
class Response:
    """One sampled response.

    `ids` end with an end of the turn where the model said one (`finished`); `logprobs` are of the distribution that was
    sampled from, temperature included, one per id.
    """

    ids: list[int]
    logprobs: list[float]
    finished: bool


def sample(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    *,
    num_samples: int = 1,
    end_ids: Sequence[int],
    pad_id: int,
    seed: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[list[Response]]:
    """`num_samples` responses for each prompt, drawn from the full distribution at `config.temperature`.

    There is no top-p or top-k: log-probabilities of a cut distribution are not those of the policy, and PPO would learn
    from wrong ratios. A response ends with the first of `end_ids` that it says. Prompts of like length are decoded
    together; the answer does not depend on their order in `prompts`, except through the random numbers that each batch
    draws. Raises ValueError for a prompt that leaves no room in the context.
    """
    limit: int = cast(PreTrainedConfig, model.config).max_position_embeddings
    for i, prompt in enumerate(prompts):
        if not prompt or len(prompt) >= limit:
            raise ValueError(f"prompt {i + 1} has {len(prompt)} tokens; the context holds {limit}, answer included")
    generator = torch.Generator(device=device_of(model)).manual_seed(seed % 2**63)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    per_batch = max(1, config.batch_size // num_samples)
    results: list[list[Response]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), per_batch):
            rows = order[start : start + per_batch]
            batch = [prompts[i] for i in rows]
            room = min(config.max_new_tokens, limit - max(map(len, batch)))
            for i, responses in zip(
                rows,
                _decode(model, batch, config.temperature, room, num_samples, end_ids, pad_id, generator),
                strict=True,
            ):
                results[i] = responses
            on_progress(min(1.0, (start + per_batch) / len(order)))
    finally:
        model.train(was_training)
    return results


@torch.inference_mode()
def _decode(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    temperature: float,
    max_new_tokens: int,
    num_samples: int,
    end_ids: Sequence[int],
    pad_id: int,
    generator: torch.Generator,
) -> list[list[Response]]:
    device = device_of(model)
    ids, mask = (tensor.to(device) for tensor in pad_left(prompts, pad_id))  # every row speaks from the last column on
    cache = roomy_cache(cast(PreTrainedConfig, model.config), max_new_tokens)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions_of(mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    if num_samples > 1:  # one prefill serves all samples of a prompt
        cache.batch_repeat_interleave(num_samples)
        logits, mask = logits.repeat_interleave(num_samples, 0), mask.repeat_interleave(num_samples, 0)
    position = mask.sum(1)
    total = len(prompts) * num_samples
    tokens = torch.full((total, max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros((total, max_new_tokens), device=device)
    lengths = torch.full((total,), max_new_tokens, device=device)
    finished = torch.zeros(total, dtype=torch.bool, device=device)
    alive = torch.arange(total, device=device)
    ends = torch.tensor(end_ids, device=device)
    for step in range(max_new_tokens):
        scaled, drawn = next_tokens(logits, temperature, generator)
        tokens[alive, step] = drawn[:, 0]
        logprobs[alive, step] = scaled.gather(1, drawn)[:, 0]
        stopped = torch.isin(drawn[:, 0], ends)
        lengths[alive[stopped]] = step + 1
        finished[alive[stopped]] = True
        if step + 1 == max_new_tokens or bool(stopped.all()):
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
    responses = [
        Response(
            tokens[row, : int(lengths[row])].tolist(), logprobs[row, : int(lengths[row])].tolist(), bool(finished[row])
        )
        for row in range(total)
    ]
    return [responses[start : start + num_samples] for start in range(0, total, num_samples)]


def next_tokens(
    logits: torch.Tensor, temperature: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (B, V) at this temperature of logits (B, V), and a token (B, 1) drawn from each row of them."""
    scaled = torch.log_softmax(logits.float() / temperature, dim=-1)
    return scaled, torch.multinomial(scaled.exp(), 1, generator=generator)
