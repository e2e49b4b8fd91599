"""The cache with room, beside transformers' own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig, MistralConfig

from models.kv_cache import RoomyLayer, roomy_cache, rows_that_stay

LLAMA = LlamaConfig(num_hidden_layers=2, hidden_size=8, num_attention_heads=2)


def states(rows: int, tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn((2, rows, 2, tokens, 4), generator=generator)
    return keys, values


def same(ours: DynamicCache, theirs: DynamicCache) -> None:
    for mine, their in zip(ours.layers, theirs.layers, strict=True):
        assert torch.equal(mine.keys, their.keys)
        assert torch.equal(mine.values, their.values)
        assert mine.get_seq_length() == their.get_seq_length()


@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.integers(0, 2**10), max_size=6), st.integers(0, 100))
def test_it_holds_what_transformers_cache_holds(rows: int, repeats: int, leaving: list[int], seed: int) -> None:
    ours, theirs = roomy_cache(LLAMA, len(leaving) + 1), DynamicCache(config=LLAMA)
    often = [1 + (row + repeats) % 3 for row in range(rows)]
    for cache in (ours, theirs):
        for layer in range(2):
            cache.update(*states(rows, 7, seed + layer), layer)
        cache.batch_repeat_interleave(torch.tensor(often))  # type: ignore[arg-type]  # theirs takes a tensor, too
    rows = sum(often)
    for step, bits in enumerate(leaving):
        gone = torch.tensor([bool(bits >> row & 1) for row in range(rows)])
        if gone.all():
            break
        kept = rows_that_stay(gone)
        rows = len(kept)
        for cache in (ours, theirs):
            cache.batch_select_indices(kept)
            for layer in range(2):
                keys, values = cache.update(*states(rows, 1, seed + 10 * step + layer), layer)
                assert keys.shape == values.shape == (rows, 2, 8 + step, 4)
        same(ours, theirs)


def test_rows_that_leave_are_filled_from_the_end_and_the_others_stay_where_they_are() -> None:
    gone = torch.tensor([False, True, False, True, False, True, False])
    assert rows_that_stay(gone).tolist() == [0, 4, 2, 6]


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_no_row_is_lost_or_doubled(leaving: list[bool]) -> None:
    kept = rows_that_stay(torch.tensor(leaving)).tolist()
    assert sorted(kept) == [row for row, gone in enumerate(leaving) if not gone]


def test_a_token_is_written_into_its_place_and_nothing_is_copied() -> None:
    layer = RoomyLayer(room=3)
    layer.update(*states(2, 5, 0))
    place = layer.keys.data_ptr()
    for step in range(3):
        layer.update(*states(2, 1, step))
    layer.batch_select_indices(torch.tensor([1]))
    assert layer.keys.data_ptr() == place


def test_more_tokens_than_there_is_room_for_are_refused() -> None:
    layer = RoomyLayer(room=1)
    layer.update(*states(2, 5, 0))
    with pytest.raises(RuntimeError):
        layer.update(*states(2, 2, 1))


def test_a_cache_that_was_reset_takes_another_batch() -> None:
    layer = RoomyLayer(room=1)
    layer.update(*states(2, 5, 0))
    layer.reset()
    keys, values = states(3, 4, 1)
    held = layer.update(keys, values)
    assert torch.equal(held[0], keys)
    assert torch.equal(held[1], values)


def test_layers_with_a_sliding_window_stay_transformers_own() -> None:
    config = MistralConfig(num_hidden_layers=2, hidden_size=8, num_attention_heads=2, sliding_window=4)
    assert not any(isinstance(layer, RoomyLayer) for layer in roomy_cache(config, 4).layers)
    assert all(isinstance(layer, RoomyLayer) for layer in roomy_cache(LLAMA, 4).layers)
