"""How a flow ends, as the Prefect UI counts it: green what did its work, red what failed, once, and grey what came to
its end without either.

A run that waits for people ends in a state of type CANCELLED under the name «Waiting»: it is over, holds no worker and
no place in the pool, has neither done its work nor failed, and no automation on failures hears of it. COMPLETED would
count it as done. PAUSED would be a run that somebody takes up again: this one never is, a new one goes on, so that
paused runs would pile up for good, never be vacuumed, and «Resume» on a run without a deployment would bring forth a
run that nobody works on and that holds the pool's only place.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.gates import StoppedAtGateError
from tasks.engine.reading import Wait

WAITING, CUT_SHORT = "Waiting", "Cut short"

P = ParamSpec("P")
R = TypeVar("R")


def waiting(wait: Wait, result: Any) -> State[Any]:
    """The state in which a flow ends that cannot go on before people have judged, with its result so far."""
    return Cancelled(name=WAITING, message=f"{wait.part} waits for people: {wait}", data=result)


def done(text: str, result: Any) -> State[Any]:
    """The state in which a flow ends that has done its work; `text` is what its page says of it."""
    return Completed(message=text, data=result)


def nothing_new(text: str, result: Any) -> State[Any]:
    """The state in which a flow ends that has found nothing to do."""
    return Completed(name="Nothing new", message=text, data=result)


def up_to_date(text: str, result: Any) -> State[Any]:
    """The state in which a flow ends whose steps are all finished: none of them is gone through."""
    return Completed(name="Up to date", message=text, data=result)


def stopped(error: StoppedAtGateError) -> State[Any]:
    """The state in which a flow ends that a gate has stopped. Prefect's events and automations know it by its name."""
    return Failed(name="Stopped at a gate", message=str(error), data=error)


def part_of_a_run(function: Callable[P, R]) -> Callable[P, R | State[Any]]:
    """The body of a subflow. What goes wrong in it is the failure of the run above it: the subflow itself ends in the
    state «Cut short», which is no failure, so that one wrong input is one red run on the dashboard. Its step is red
    where it stands among the task runs, and both states have the message."""

    @wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            return Cancelled(name=CUT_SHORT, message=str(error) or type(error).__name__, data=error)

    return body


def result_of(ended: State[Any]) -> Any:
    """What a flow gave that was called with `return_state`, also where it waits for people. Raises its error where it
    failed or was cut short."""
    return ended.result(raise_on_failure=ended.name != WAITING)
