"""One training on several processes of this machine: torch.distributed, gloo on CPUs and NCCL on GPUs.

The processes are forked from the one that loaded the model, and it waits for them: where one fails the others end, and
where it goes they go with it. Each of them takes its share of every batch (models/training/hf.py), so that `batch_size`
means the same whatever their number.
"""

import inspect
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, ParamSpec

from torch import distributed

from models.devices import require_devices
from models.training.reporting import Quiet

_SECONDS_TO_SEE_WHO = 1.0

P = ParamSpec("P")
Metrics = dict[str, float]


def data_parallel(train: Callable[P, Metrics]) -> Callable[P, Metrics]:
    """Run a training function on `config.processes` processes; with one, in this process.

    The function has parameters `config` and `reporter`, and writes files in the main process alone. Only the main one
    reports. With more than one process the model of the caller stays as it was: read the trained one from where it was
    written. The caller must not have used more than one torch thread before (a forked thread pool hangs). Raises what
    the first process that fails raises.
    """
    parameters = inspect.signature(train)

    @wraps(train)
    def on_processes(*args: P.args, **kwargs: P.kwargs) -> Metrics:
        arguments = parameters.bind(*args, **kwargs).arguments
        processes: int = arguments["config"].processes
        return train(*args, **kwargs) if processes == 1 else _supervise(train, arguments, processes)

    return on_processes


def _supervise(train: Callable[..., Metrics], arguments: dict[str, Any], processes: int) -> Metrics:
    """Fork the processes, wait for all of them, and return what the main one returns. They meet at any free port."""
    require_devices(processes)
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    result: Metrics = {}
    try:
        for rank in range(processes):
            receiving, sending = context.Pipe(duplex=False)
            process = context.Process(
                target=_serve, args=(train, arguments, rank, processes, store.port, os.getpid(), sending), daemon=True
            )
            process.start()
            sending.close()
            running[receiving] = (rank, process)
        while running:
            ready = [connection for connection in wait(list(running)) if isinstance(connection, Connection)]
            answers = {connection: _answer(connection, *running[connection], processes) for connection in ready}
            errors = _errors(answers.values())
            if errors:
                # The one that failed first; the others only lost the connection to it. A process that was killed
                # closes that connection before its pipe, so what it comes to may be known a little later.
                late = [connection for connection in running if connection not in answers]
                ready = [each for each in wait(late, _SECONDS_TO_SEE_WHO) if isinstance(each, Connection)]
                errors += _errors(_answer(connection, *running[connection], processes) for connection in ready)
                raise min(errors, key=lambda answer: answer[0])[1]
            for connection, (_, metrics) in answers.items():
                rank, process = running.pop(connection)
                process.join()
                if rank == 0:
                    result = metrics
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
        del store  # an error keeps this frame: its thread must not be collected in a process forked later
    return result


def _errors(answers: Iterable[tuple[float, Any]]) -> list[tuple[float, BaseException]]:
    return [(when, answer) for when, answer in answers if isinstance(answer, BaseException)]


def _answer(connection: Connection, rank: int, process: ForkProcess, processes: int) -> tuple[float, Any]:
    """When a process ended, and with what; one that ended without a word did so before the others could miss it."""
    try:
        when, answer = connection.recv()
    except EOFError:
        process.join()
        return 0.0, RuntimeError(f"training process {rank + 1} of {processes} ended with code {process.exitcode}")
    return when, answer


def _serve(
    train: Callable[..., Metrics],
    arguments: dict[str, Any],
    rank: int,
    processes: int,
    port: int,
    parent: int,
    sending: Connection,
) -> None:
    """One of the processes; what it is told here is what `torchrun` tells."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE="True",  # the store is the parent's: nobody else can take its port
    )
    try:
        answer: Any = train(**(arguments if rank == 0 else {**arguments, "reporter": Quiet()}))
        distributed.destroy_process_group()
    except BaseException as error:
        traceback.print_exc()
        answer = _sendable(error)
    sending.send((time.monotonic(), answer))
    sending.close()


def _sendable(error: BaseException) -> BaseException:
    """The error, or where it cannot be sent, one that says the same."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))  # as the pipe will do
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
