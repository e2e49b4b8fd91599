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
    shards = min(shards, len(items))
    if shards <= 1:
        return list(function(items, 0))
    parts: list[list[R]]
    if has_accelerator():
        parts = [list(function(items[number::shards], number)) for number in range(shards)]
    else:
        parts = _forked(function, items, shards)
    results: list[Any] = [None] * len(items)
    for number, part in enumerate(parts):
        results[number::shards] = part  # refuses a part that is not as long as its items
    return results


def _forked(function: Callable[[Sequence[T], int], Sequence[R]], items: Sequence[T], shards: int) -> list[list[R]]:
    context = multiprocessing.get_context("fork")
    started = []
    for number in range(1, shards):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(function, items[number::shards], number, sending), daemon=True)
        process.start()
        sending.close()
        started.append((process, receiving))
    parts = [list(function(items[0::shards], 0))]
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
