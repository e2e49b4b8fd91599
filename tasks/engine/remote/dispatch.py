"""How a step is sent to another machine, and the ends that it can have there."""

from collections.abc import Callable
from dataclasses import dataclass

from data_store.errors import InputError
from tasks.engine.call import StepCall
from tasks.engine.jobs import StepFailedError
from tasks.engine.remote.messages import Failed

OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class StepLostError(StepFailedError):
    """The machine or the process that did a step has gone; it may be sent again."""


class CancelledError(StepFailedError):
    """Somebody has cancelled the step where it is done."""


@dataclass(frozen=True)
class Dispatch:
    """How a step is sent to another machine, to `worker` in words: `start` has one told of the order (its prefix in the
    bucket) and of the number of its part, from 0, and gives what its state is asked by; `state` gives (type, message)
    of it; `end` says that nobody needs it any more. A step that trains on several `nodes` has as many parts, which wait
    for each other for `wait_seconds`."""

    worker: str
    attempts: int
    energy_country: str | None
    start: Callable[[StepCall, str, int], str]
    state: Callable[[str], tuple[str, str]]
    end: Callable[[str], None]
    nodes: int = 1
    wait_seconds: float = 0.0


def error_of(failed: Failed, where: str) -> Exception:
    """What the other side says of a step, as the flow raises it."""
    text = f"{failed.message} (on {where})"
    if failed.kind == "died":
        return StepLostError(text)
    return InputError(text) if failed.kind == "input" else StepFailedError(text)
