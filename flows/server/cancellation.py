"""A run that is cancelled on its page ends, also where no worker is there to end it.

A worker ends the runs that it has started. Of those that `halter run` and `halter rerun` make, and of a subflow that is
cancelled by itself, Prefect only writes «Cancelling» down: the process has to look.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runtime import flow_run
from prefect.states import Cancelled

SECONDS_BETWEEN_LOOKS = 3.0
UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]

P = ParamSpec("P")
R = TypeVar("R")


class RunCancelledError(RuntimeError):
    """Somebody has cancelled the run in the UI or through the API."""

    def __init__(self) -> None:
        super().__init__("cancelled in the Prefect UI; what is done is kept, and the same command goes on from here")


def cancellable(function: Callable[P, R]) -> Callable[P, R | State[None]]:
    """Have the flow of this function end in the state Cancelled, soon after somebody has asked for it."""

    @wraps(function)
    def cancellable_function(*args: P.args, **kwargs: P.kwargs) -> R | State[None]:
        run_id = UUID(flow_run.get_id())
        asked = threading.Event()
        try:
            with _listening(run_id, asked):
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            if not asked.is_set():
                raise
            error = RunCancelledError()
            with get_client(sync_client=True) as client:
                for run in _children(client, run_id, [*UNDER_WAY, StateType.CRASHED]):  # crashed by the interrupt
                    client.set_flow_run_state(run.id, Cancelled(message=str(error)), force=True)
            return Cancelled(message=str(error), data=error)

    return cancellable_function


@contextmanager
def _listening(run_id: UUID, asked: threading.Event) -> Iterator[None]:
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(run_id, asked, over), daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()


def _listen(run_id: UUID, asked: threading.Event, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            try:
                is_asked = _is_asked_to_end(client, run_id)
            except HTTPError:  # a server that is busy: the next look tells
                continue
            if is_asked and not over.is_set():
                asked.set()
                os.kill(os.getpid(), signal.SIGINT)
                return


def _is_asked_to_end(client: SyncPrefectClient, run_id: UUID) -> bool:
    if _children(client, run_id, [StateType.CANCELLING]):
        return True
    has_worker = "PREFECT__FLOW_RUN_ID" in os.environ
    return not has_worker and bool(
        client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=[run_id]), state=_in([StateType.CANCELLING, StateType.CANCELLED])
            )
        )
    )


def _children(client: SyncPrefectClient, run_id: UUID, states: list[StateType]) -> list[FlowRun]:
    parent = FlowRunFilterParentFlowRunId(any_=[run_id])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent, state=_in(states)))


def _in(states: list[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=states))
