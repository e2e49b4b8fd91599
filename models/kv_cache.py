"""A cache of keys and values with room for the tokens to come.

transformers' dynamic cache copies all it holds for each new token, and once more whenever rows leave the batch. Here a
token is written into its place, and a row that leaves is overwritten by one from the end.
"""

from typing import Any, cast

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values (rows, heads, tokens, head size) of one layer, in buffers that hold `room` more tokens than were
    first given."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.room = room
        self._buffers: tuple[torch.Tensor, ...] = ()  # keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new tokens behind those that are there; gives views of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = self._roomy(key_states), self._roomy(value_states)
            self._show(len(key_states), 0)
        rows, held = self._shown()
        total = held + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:rows, :, held:total] = states
        return self._show(rows, total)

    def batch_repeat_interleave(self, repeats: torch.Tensor) -> None:  # type: ignore[override]
        """Each row as often as `repeats` (rows,) says, one beside the other."""
        if self.get_seq_length() > 0:
            rows, held = self._shown()
            self._buffers = tuple(buffer[:rows].repeat_interleave(repeats, 0) for buffer in self._buffers)
            self._show(int(repeats.sum()), held)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order; those that stay in their place are not copied."""
        if self.get_seq_length() > 0:
            _, held = self._shown()
            places = torch.arange(len(indices), device=indices.device)
            moved = places[indices != places]
            for buffer in self._buffers:
                buffer[moved, :, :held] = buffer[indices[moved], :, :held]
            self._show(len(indices), held)

    def _roomy(self, states: torch.Tensor) -> torch.Tensor:
        rows, heads, tokens, size = states.shape
        return states.new_empty((rows, heads, tokens + self.room, size))

    def _shown(self) -> tuple[int, int]:
        """How many rows and tokens there are."""
        rows, _, tokens, _ = cast(torch.Tensor, self.keys).shape
        return rows, tokens

    def _show(self, rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (buffer[:rows, :, :tokens] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


class RoomyCache(DynamicCache):
    """A cache whose rows can be repeated and left out, those of layers with linear attention as well: of the states
    that such a layer has instead of keys and values, transformers only knows how to change the order."""

    def batch_repeat_interleave(self, repeats: torch.Tensor) -> None:  # type: ignore[override]
        """Each row as often as `repeats` (rows,) says, one beside the other."""
        for layer in self.layers:
            if isinstance(layer, LinearAttentionCacheLayerMixin):
                states = next(state for state in layer.conv_states.values() if state is not None)
                rows = torch.arange(len(states), device=states.device)
                layer.reorder_cache(cast(torch.LongTensor, rows.repeat_interleave(repeats)))
            else:
                cast(RoomyLayer, layer).batch_repeat_interleave(repeats)  # transformers' own takes them too

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order."""
        for layer in self.layers:
            if isinstance(layer, LinearAttentionCacheLayerMixin):
                layer.reorder_cache(cast(torch.LongTensor, indices))
            else:
                cast(DynamicLayer, layer).batch_select_indices(indices)


def roomy_cache(config: PreTrainedConfig, room: int) -> RoomyCache:
    """The cache that a model of this config wants, with room for `room` tokens after the prompt. Layers with a sliding
    window or with linear attention stay transformers' own."""
    cache = RoomyCache(config=config)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def rows_that_stay(leaving: torch.Tensor) -> torch.Tensor:
    """Which rows to keep, and in what order, when those `leaving` (bool, one per row) go: each takes the place that it
    has, but the last ones take the places that become free."""
    left = int((~leaving).sum())
    kept = torch.arange(left, device=leaving.device)
    kept[leaving[:left]] = left + (~leaving[left:]).nonzero()[:, 0]
    return kept
