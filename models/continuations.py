"""How likely a model finds given continuations: of a text as it stands, or as its answer in a dialogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedConfig

from models.devices import device_of
from models.dialogue import Renderer
from models.scoring import lay_out, response_logprobs


@dataclass(frozen=True)
class Continuation:
    """Token ids before it, and its own."""

    before: list[int]
    ids: list[int]


def of_text(renderer: Renderer, context: str, continuation: str) -> Continuation:
    """A continuation of a text, behind a beginning of sequence where the tokenizer has one.

    Both are encoded as one text, as they would stand in training; blanks at the end of the context belong to the
    continuation, for a word is written with the blank before it. So does lm-evaluation-harness, told to add BOS.
    Raises ValueError for an empty continuation.
    """
    bos = renderer.tokenizer.bos_token_id
    kept = context.rstrip()
    whole, before = renderer.text.encode_all([context + continuation, kept])
    if len(whole) <= len(before):
        raise ValueError(f"the continuation {continuation!r} has no token of its own")
    return Continuation([*([] if bos is None else [bos]), *whole[: len(before)]], whole[len(before) :])


def of_answer(renderer: Renderer, context: str, continuation: str) -> Continuation:
    """The same as the model's answer to a user's message, without the end of the turn.

    The answer's ids are those that the template gives it, its first blank included; blanks around the continuation are
    taken away. lm-evaluation-harness takes the blank before a choice away where it applies a chat template, which is
    another answer to a model that has learned to begin with one. Raises ValueError for an empty continuation.
    """
    messages = [{"role": "user", "content": context}, {"role": "assistant", "content": continuation}]
    before = renderer.prompt(messages[:1])
    ids = renderer.dialogue(messages).input_ids[len(before) :]
    if ids and ids[-1] in renderer.end_ids:
        ids = ids[:-1]
    if not ids:
        raise ValueError(f"the answer {continuation!r} has no token of its own")
    return Continuation(before, ids)


def context_length(model: nn.Module) -> int:
    """The tokens that a model reads at most."""
    return int(cast(PreTrainedConfig, model.config).max_position_embeddings)


@torch.inference_mode()
def continuation_logprobs(
    model: nn.Module, continuations: Sequence[Continuation], pad_id: int, batch_size: int
) -> list[tuple[float, bool]]:
    """(log-probability in nats of all tokens of the continuation, whether each was the likeliest one), in order.

    What is too long for the context loses tokens at its beginning. Raises ValueError for a continuation that alone is
    longer than the context.
    """
    limit = context_length(model)
    for each in continuations:
        if not each.before or len(each.ids) >= limit:
            raise ValueError(f"a continuation of {len(each.ids)} tokens; the context holds {limit}, one before it too")
    rows = [each.before[-(limit - len(each.ids)) :] for each in continuations]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]) + len(continuations[i].ids), i))
    found: list[tuple[float, bool]] = [(0.0, False)] * len(rows)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            answers = [continuations[i].ids for i in chosen]
            ids, attention, mask = lay_out([rows[i] for i in chosen], answers, pad_id, device_of(model))
            logprobs, logits = response_logprobs(model, ids, attention, mask.shape[1], 1.0)
            sums = (logprobs * mask).sum(1).tolist()
            greedy = ((logits.argmax(-1) == ids[:, -mask.shape[1] :]) | ~mask).all(1).tolist()
            for i, value, is_greedy in zip(chosen, sums, greedy, strict=True):
                found[i] = (value, is_greedy)
    finally:
        model.train(was_training)
    return found
