"""Work over many rows in several processes of one machine: forked, so the model's weights are shared and nothing is
loaded twice."""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from models.devices import has_accelerator

T = TypeVar("T")
R = TypeVar("R")


def map_shards(function: Callable[[Sequence[T], int], Sequence[R]], items: Sequence[T], shards: int) -> list[R]:
    """`function(part, shard number)` over `shards` interleaved parts of `items`; results come back in the items' order.

    With an accelerator, which no forked process could use, the parts are done one after another.

    The function returns one result per item. Its random numbers must be the items' own, and it must not have used more
    than one torch thread before (a forked thread pool hangs). Items are read in other company with other `shards`, so
    the result differs by rounding, and shards belong to a step's config. Raises RuntimeError with the shard's error
    where one fails in a process of its own.
    """
    given = parts_of(items, shards)
    if len(given) == 1:
        return list(function(items, 0))
    if has_accelerator():
        return together([list(function(part, number)) for number, part in enumerate(given)], len(items))
    return together(_forked(function, given), len(items))


def parts_of(items: Sequence[T], shards: int) -> list[Sequence[T]]:
    """The interleaved parts, one at least and none empty where there are items."""
    shards = max(1, min(shards, len(items)))
    return [items[number::shards] for number in range(shards)]


def together(parts: Sequence[Sequence[R]], count: int) -> list[R]:
    """The inverse: results of `count` items in their order. Raises ValueError for a part that is not as long as its
    items."""
    results: list[Any] = [None] * count
    for number, part in enumerate(parts):
        results[number :: len(parts)] = part
    return results


def _forked(function: Callable[[Sequence[T], int], Sequence[R]], given: Sequence[Sequence[T]]) -> list[list[R]]:
    context = multiprocessing.get_context("fork")
    started = []
    for number, part in enumerate(given[1:], start=1):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(function, part, number, sending), daemon=True)
        process.start()
        sending.close()
        started.append((process, receiving))
    parts = [list(function(given[0], 0))]
    for process, receiving in started:
        try:
            answer = receiving.recv()
        except EOFError:
            process.join()
            answer = RuntimeError(f"its process ended with code {process.exitcode}")
        process.join()
        if isinstance(answer, Exception):
            raise RuntimeError(f"a shard failed: {answer}") from answer
        parts.append(answer)
    return parts


def _serve(function: Callable[[Sequence[T], int], Sequence[R]], items: Sequence[T], number: int, sending: Any) -> None:
    try:
        sending.send(list(function(items, number)))
    except Exception as error:
        sending.send(RuntimeError(f"{type(error).__name__}: {error}"))
    sending.close()
