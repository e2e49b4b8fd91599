"""Reading a judge's verdict: which of two letters a chat model would say next. Nothing is sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.devices import device_of
from models.dialogue import Renderer
from models.scoring import pad_left, positions_of


@dataclass(frozen=True)
class VerdictTokens:
    """How the model would write the two letters without thinking first: `before` is what comes before either, `ids` are
    the letters."""

    before: tuple[int, ...]
    ids: tuple[int, int]


def verdict_tokens(renderer: Renderer, letters: tuple[str, str]) -> VerdictTokens:
    """Raises ValueError for a tokenizer in which the letters differ by more than one token."""
    user = {"role": "user", "content": "?"}
    start = len(renderer.prompt([user]))
    written = [renderer.outright([user, {"role": "assistant", "content": each}])[start:] for each in letters]
    first, second = written
    same = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), None)
    if same is None or len(first) != len(second) or first[same + 1 :] != second[same + 1 :]:
        raise ValueError(f"the tokenizer has no single tokens for {' and '.join(letters)}: it cannot give a verdict")
    return VerdictTokens(tuple(first[:same]), (first[same], second[same]))


@torch.inference_mode()
def log_odds(
    model: nn.Module, rows: Sequence[Sequence[int]], tokens: VerdictTokens, pad_id: int, batch_size: int
) -> list[float]:
    """log p(first letter) - log p(second letter), in nats, of what comes after each row of token ids. The normaliser is
    the same for both, so it is the difference of their logits. Order is kept."""
    device = device_of(model)
    full = [[*row, *tokens.before] for row in rows]
    found = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(full[i]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = (tensor.to(device) for tensor in pad_left([full[i] for i in chosen], pad_id))
        # the model's own logits: some scale or cap what the head gives
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False, logits_to_keep=1
        ).logits[:, -1]
        values = logits[:, tokens.ids[0]].float() - logits[:, tokens.ids[1]].float()
        for i, value in zip(chosen, values.tolist(), strict=True):
            found[i] = value
    return found
