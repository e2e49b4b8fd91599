"""Work that needs one item alone, on several processes of this machine, with the results in the items' order.

The processes are forked when there is work for them, so that they have all that is loaded here, and they hear of the
death of this one. Items and results lie in files of a folder that is theirs alone, as multiprocessing would send them,
and the processes tell each other their numbers: nobody waits until another one has read.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 2
"""Items that a process has been given and that are not done, one at work and one that waits for it; and items a process
that are not taken yet, done or not."""


def in_order(function: Callable[[T], R], items: Iterable[T], processes: int, folder: Path) -> Generator[R, None, None]:
    """`map(function, items)` on so many processes, as far as there are items; the first one, and with 1 all, in this
    process. Close it to end them.

    `items` is read in this process, at most two items a process ahead of what is taken. This process must not have used
    more than one torch thread before (a forked thread pool hangs).

    Raises what the function raises of the first item for which it does; RuntimeError for a process that was killed.
    """
    left = iter(items)
    first = list(_next(left))
    yield from map(function, first)  # here: what is loaded for it is there for all that are forked
    if processes == 1:
        yield from map(function, left)
    else:
        yield from _Processes(function, processes, folder).results(left)


def _next(left: Iterator[T]) -> Iterator[T]:
    """One more, if there is one."""
    for each in left:
        yield each
        return


@dataclass
class _Worker:
    """A process: its number, the pipes to it and from it, and how many items it has."""

    number: int
    process: ForkProcess
    given: Connection
    done: Connection
    items: int = 0


class _Processes:
    def __init__(self, function: Callable[[Any], Any], most: int, folder: Path) -> None:
        self._function, self._most, self._folder = function, most, folder
        self._workers: list[_Worker] = []
        self._finished: dict[int, BaseException | None] = {}

    def results(self, left: Iterator[Any]) -> Iterator[Any]:
        """Of all items, in order."""
        given = taken = 0
        is_over = False
        try:
            while True:
                while not is_over and given - taken < _AT_ONCE * self._most and self._has_room():
                    item = list(_next(left))
                    is_over = not item
                    for each in item:
                        _write(self._folder / f"item-{given}", each)
                        self._give(self._free(), given)
                        given += 1
                if taken == given:
                    return
                yield self._result(taken)
                taken += 1
        finally:
            for each in self._workers:
                each.process.kill()
                each.process.join()

    def _has_room(self) -> bool:
        self._hear(timeout=0)
        return len(self._workers) < self._most or any(each.items < _AT_ONCE for each in self._workers)

    def _free(self) -> _Worker:
        """The process that has the fewest items, a new one before any has to wait."""
        worker = min(self._workers, key=lambda each: each.items, default=None)
        if worker is None or (worker.items and len(self._workers) < self._most):
            return self._start()
        return worker

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("fork")
        for_items, given = context.Pipe(duplex=False)
        done, for_results = context.Pipe(duplex=False)
        process = context.Process(
            target=_serve, args=(self._function, self._folder, for_items, for_results, os.getpid()), daemon=True
        )
        process.start()
        for_items.close()
        for_results.close()
        worker = _Worker(len(self._workers) + 1, process, given, done)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, number: int) -> None:
        try:
            worker.given.send(number)
        except BrokenPipeError:
            raise self._killed(worker) from None
        worker.items += 1

    def _result(self, number: int) -> Any:
        while number not in self._finished:
            self._hear(timeout=None)
        if (error := self._finished.pop(number)) is not None:
            raise error
        return _read(self._folder / f"result-{number}")

    def _hear(self, timeout: float | None) -> None:
        by_pipe = {each.done: each for each in self._workers}
        for ready in wait(list(by_pipe), timeout) if by_pipe else ():
            worker = by_pipe[ready]  # type: ignore[index]
            try:
                number, error = worker.done.recv()
            except EOFError:
                raise self._killed(worker) from None
            worker.items -= 1
            self._finished[number] = error

    def _killed(self, worker: _Worker) -> RuntimeError:
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        why = ", as the system does where memory is short: fewer processes take less" if -code == signal.SIGKILL else ""
        name = f"process {worker.number} of {len(self._workers)} that judged documents (pid {worker.process.pid})"
        return RuntimeError(f"{name} {how}{why}")


def _serve(function: Callable[[Any], Any], folder: Path, items: Connection, results: Connection, parent: int) -> None:
    """One of the processes, until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the one that waits for this one, and ends it
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        number: int = items.recv()
        error: BaseException | None = None
        try:
            _write(folder / f"result-{number}", function(_read(folder / f"item-{number}")))
        except Exception as raised:
            error = _sendable(raised)
        results.send((number, error))


def _write(path: Path, content: object) -> None:
    path.write_bytes(ForkingPickler.dumps(content))


def _read(path: Path) -> Any:
    """What was written there, which is no longer needed."""
    content = path.read_bytes()
    path.unlink()
    return ForkingPickler.loads(content)


def _sendable(error: Exception) -> Exception:
    """The error, or where it cannot be sent, one that says the same."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
