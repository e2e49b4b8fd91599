"""One answer at a time, token by token, to somebody who waits; a dialogue that goes on is not read again."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedConfig

from models.devices import device_of
from models.generation import Request, draw_tokens, uniforms
from models.kv_cache import RoomyCache, RoomyLayer, roomy_cache


class Streamer:
    """Streams answers of one model, and keeps the keys and values of what it read and said last: of the next prompt
    only what differs from that is read. `context`: tokens of prompt and answer together, the model's own limit at
    most; it bounds the memory, too. For one thread at a time.
    """

    def __init__(self, model: nn.Module, context: int) -> None:
        self.model = model.eval()
        self.context: int = min(context, cast(PreTrainedConfig, model.config).max_position_embeddings)
        self.tokens_read = 0
        """Of prompts, over all answers: what the cache has saved is what this lacks."""
        self._held: tuple[RoomyCache, list[int]] | None = None  # a cache, and the ids that it has read

    def stream(self, request: Request, *, max_new_tokens: int, end_ids: Sequence[int]) -> Iterator[int]:
        """The ids of the one answer that is asked for, as they are drawn, an end of the turn included; the same that
        `models.generation.sample` draws. The caller may stop at any token. Raises ValueError, before anything
        is computed, for a prompt that leaves no room in the context.
        """
        prompt, (temperature,) = request.ids, request.temperatures
        if not prompt or len(prompt) >= self.context:
            raise ValueError(f"the prompt has {len(prompt)} tokens; the context holds {self.context}, answer included")
        room, ends = min(max_new_tokens, self.context - len(prompt)), set(end_ids)
        cache, ids = self._beginning_of(prompt)
        self.tokens_read += len(prompt) - len(ids)
        logits = self._read(cache, ids, prompt[len(ids) :])
        return self._drawn(cache, ids, logits, temperature, uniforms([request], room).to(logits.device), ends)

    def _drawn(
        self,
        cache: RoomyCache,
        ids: list[int],
        logits: torch.Tensor,
        temperature: float,
        uniform: torch.Tensor,
        ends: set[int],
    ) -> Iterator[int]:
        room = uniform.shape[1]
        for number in range(room):
            with torch.inference_mode():
                scaled = torch.log_softmax(logits.float() / temperature, dim=-1)
                token = int(draw_tokens(scaled, uniform[:, number]))
            yield token
            if token in ends or number + 1 == room:
                return
            logits = self._read(cache, ids, [token])

    def _beginning_of(self, prompt: Sequence[int]) -> tuple[RoomyCache, list[int]]:
        """A cache that has read a beginning of the prompt, its last token left out, whose logits are wanted."""
        if self._held is not None:
            cache, ids = self._held
            kept = _common(ids, prompt[:-1])
            if kept and all(isinstance(layer, RoomyLayer) for layer in cache.layers):
                cache.crop(kept - len(ids))
                return cache, ids[:kept]
        room = self.context - len(prompt)
        return roomy_cache(cast(PreTrainedConfig, self.model.config), room), []

    @torch.inference_mode()
    def _read(self, cache: RoomyCache, ids: list[int], new: Sequence[int]) -> torch.Tensor:
        """Logits (1, V) behind the new ids, which are then in the cache and in `ids`."""
        self._held = None  # where this is cut off half of the layers may have read them
        device = device_of(self.model)
        logits: torch.Tensor = self.model(
            input_ids=torch.tensor([list(new)], device=device),
            attention_mask=torch.ones((1, len(ids) + len(new)), dtype=torch.long, device=device),
            position_ids=torch.arange(len(ids), len(ids) + len(new), device=device)[None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        ids += new
        self._held = cache, ids
        return logits


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two rows have in common at their beginning."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))
