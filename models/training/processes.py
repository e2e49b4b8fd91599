"""One training on several processes, of this machine or of several: torch.distributed, gloo on CPUs and NCCL on GPUs.

The processes are forked from the one that loaded the model, and it waits for them: where one fails the others end, and
where it goes they go with it. Each of them takes its share of every batch (models/training/hf.py), so that `batch_size`
means the same whatever their number. Where other machines take part (models/training/nodes.py) each forks its share.
"""

import inspect
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial, wraps
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, ParamSpec

from torch import distributed

from models.devices import require_devices
from models.training.meeting import Alone, Together, ticket_of
from models.training.nodes import Endpoint, TookPartError, here, reached_through
from models.training.reporting import Quiet

_SECONDS_TO_SEE_WHO = 1.0
_SECONDS_BETWEEN_LOOKS = 1.0  # at the other nodes

P = ParamSpec("P")
Metrics = dict[str, float]


def data_parallel(train: Callable[P, Metrics]) -> Callable[P, Metrics]:
    """Run a training function on `config.processes` processes; with one, in this process.

    The function has parameters `config` and `reporter`, and for several nodes `work`, the folder of its checkpoints; it
    writes files in the main process alone. Only the main one reports. With more than one process the model of the
    caller stays as it was: read the trained one from where it was written. The caller must not have used more than one
    torch thread before (a forked thread pool hangs).

    Raises what the first process that fails raises, ChildProcessError for one that is gone; and TookPartError at the
    end on all nodes but the first, which has what was made.
    """
    parameters = inspect.signature(train)

    @wraps(train)
    def on_processes(*args: P.args, **kwargs: P.kwargs) -> Metrics:
        arguments = parameters.bind(*args, **kwargs).arguments
        processes: int = arguments["config"].processes
        place = here()
        if processes == 1 and place is None:
            return train(*args, **kwargs)
        with Alone() if place is None else Together(place, partial(arguments["reporter"].progress, 0.0)) as nodes:
            found = _supervise(train, arguments, processes, nodes)
        if nodes.node:
            raise TookPartError
        return found

    return on_processes


def _supervise(train: Callable[..., Metrics], arguments: dict[str, Any], processes: int, nodes: Alone) -> Metrics:
    """Fork the processes of this node, wait for all of them, and return what the main one returns."""
    own, left = divmod(processes, nodes.nodes)
    if left:
        raise ValueError(f"processes {processes} cannot be shared by {nodes.nodes} nodes: make it a multiple of that")
    require_devices(own)
    if isinstance(nodes, Together):
        nodes.share_state(arguments["work"])
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    result: Metrics = {}
    try:
        for local in range(own):
            receiving, sending = context.Pipe(duplex=False)
            environment = _environment(nodes, local, own, processes)
            process = context.Process(
                target=_serve, args=(train, arguments, environment, nodes.endpoint, os.getpid(), sending), daemon=True
            )
            process.start()
            sending.close()
            running[receiving] = (nodes.node * own + local, process)
        while running:
            ready = _readable(running, None if nodes.nodes == 1 else _SECONDS_BETWEEN_LOOKS)
            answers = {connection: _answer(connection, *running[connection], processes) for connection in ready}
            errors = _errors(answers.values())
            if errors:
                # The one that failed first; the others only lost the connection to it. A process that was killed
                # closes that connection before its pipe, so what it comes to may be known a little later.
                late = _readable([each for each in running if each not in answers], _SECONDS_TO_SEE_WHO)
                errors += _errors(_answer(connection, *running[connection], processes) for connection in late)
                raise nodes.cause(*min(errors, key=lambda answer: answer[0]))
            for connection, (_, metrics) in answers.items():
                rank, process = running.pop(connection)
                process.join()
                if rank == 0:
                    result = metrics
            nodes.look()
        nodes.finish()
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return result


def _readable(connections: Iterable[Connection], seconds: float | None) -> list[Connection]:
    """Those that have something, or are at their end, within so many seconds."""
    return [each for each in wait(list(connections), seconds) if isinstance(each, Connection)]


def _environment(nodes: Alone, local: int, own: int, processes: int) -> dict[str, str]:
    """What a training process is told; it is what `torchrun` tells. They meet at the store of the first node."""
    interface = reached_through(nodes.address) if nodes.nodes > 1 else None
    return {
        "RANK": str(nodes.node * own + local),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(own),
        "MASTER_ADDR": nodes.endpoint.address,
        "MASTER_PORT": str(nodes.endpoint.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is the supervisor's: nobody else can take its port
        # By itself gloo listens where the machine's name leads, which is often 127.0.1.1: nobody else comes there.
        **({} if interface is None else {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}),
        **{name: os.environ[name] for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if name in os.environ},
    }


def _errors(answers: Iterable[tuple[int, Any]]) -> list[tuple[int, BaseException]]:
    return [(ticket, answer) for ticket, answer in answers if isinstance(answer, BaseException)]


def _answer(connection: Connection, rank: int, process: ForkProcess, processes: int) -> tuple[int, Any]:
    """With what a process ended, behind the number of its failure; one that ended without a word did so before the
    others could miss it."""
    try:
        ticket, answer = connection.recv()
    except EOFError:
        process.join()
        return 0, ChildProcessError(f"training process {rank + 1} of {processes} ended with code {process.exitcode}")
    return ticket, answer


def _serve(
    train: Callable[..., Metrics],
    arguments: dict[str, Any],
    environment: dict[str, str],
    endpoint: Endpoint,
    parent: int,
    sending: Connection,
) -> None:
    """One of the processes."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ.update(environment)
    ticket = 0
    try:
        answer: Any = train(**(arguments if environment["RANK"] == "0" else {**arguments, "reporter": Quiet()}))
        distributed.destroy_process_group()
    except BaseException as error:
        traceback.print_exc()
        ticket, answer = ticket_of(endpoint), _sendable(error)
    sending.send((ticket, answer))
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
