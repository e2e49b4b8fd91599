"""Work in several processes gives what one process gives, in order, and no failure is lost."""

import os
import signal
from collections.abc import Sequence

import pytest

from models.shards import map_shards


def double(items: Sequence[int], shard: int) -> list[int]:
    return [2 * item for item in items]


def where(items: Sequence[int], shard: int) -> list[tuple[int, int, int]]:
    return [(item, shard, os.getpid()) for item in items]


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
@pytest.mark.parametrize("shards", [1, 2, 3, 20])
def test_results_come_in_the_items_order_and_equal_those_of_one_shard(count: int, shards: int) -> None:
    assert map_shards(double, list(range(count)), shards) == map_shards(double, list(range(count)), 1)
    assert map_shards(double, list(range(count)), shards) == [2 * item for item in range(count)]


def test_shards_are_interleaved_numbered_and_processes_of_their_own() -> None:
    results = map_shards(where, list(range(7)), 3)
    assert [item for item, _, _ in results] == list(range(7))
    assert [shard for _, shard, _ in results] == [0, 1, 2, 0, 1, 2, 0]
    processes = {shard: pid for _, shard, pid in results}
    assert processes[0] == os.getpid()
    assert len(set(processes.values())) == 3


def test_large_answers_pass() -> None:
    results = map_shards(lambda items, shard: ["x" * 300_000 for _ in items], list(range(6)), 3)
    assert [len(text) for text in results] == [300_000] * 6


def test_an_error_of_any_shard_comes_out_with_its_words() -> None:
    def fail_on_four(items: Sequence[int], shard: int) -> list[int]:
        if 4 in items:
            raise KeyError("row 4 has no text")
        return list(items)

    with pytest.raises(RuntimeError, match="a shard failed: KeyError: 'row 4 has no text'"):
        map_shards(fail_on_four, list(range(6)), 3)
    with pytest.raises(KeyError, match="row 4 has no text"):  # the caller's own share
        map_shards(fail_on_four, [4, 1, 2], 3)


def test_the_sudden_death_of_a_shard_is_an_error_with_its_signal() -> None:
    def die(items: Sequence[int], shard: int) -> list[int]:
        if shard == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(items)

    with pytest.raises(RuntimeError, match="its process ended with code -9"):
        map_shards(die, list(range(6)), 3)


def test_an_answer_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="a shard failed"):
        map_shards(lambda items, shard: [lambda: None for _ in items], list(range(6)), 2)


def test_an_answer_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="size"):
        map_shards(lambda items, shard: list(items)[1:], list(range(6)), 2)
