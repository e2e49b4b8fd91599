"""How fast a training is, by the clock, and when it will end. What is said here depends on the machine and its load: it
is in no checkpoint and in no content."""

from datetime import datetime, timedelta

SPEED = "tokens_per_second"
UTILISATION = ("mfu", "peak_flops")
_MOST_WARMING = 10


class Pace:
    """The optimizer steps of one process, timed. The first tenth of them, at least one and at most ten, warms up:
    memory is claimed and kernels are chosen. Neither that nor the writing of checkpoints counts in the speed.

    Times are seconds of a clock that never goes back.
    """

    def __init__(self, step: int, steps: int, now: float) -> None:
        """Before step `step` + 1 of `steps`: a resumed training times what it does itself."""
        self.done, self.todo = 0, steps - step
        self._warming = max(1, min(_MOST_WARMING, self.todo // 10))
        self._began = self._last = now
        self._steady = 0.0

    def stepped(self, now: float) -> None:
        """A step is done."""
        self.done += 1
        if self.done > self._warming:
            self._steady += now - self._last
        self._last = now

    def saved(self, now: float) -> None:
        """A checkpoint is written: what passed since the last step belongs to none."""
        self._last = now

    @property
    def seconds_per_step(self) -> float | None:
        """In the steady state; None before there is one."""
        timed = self.done - self._warming
        return self._steady / timed if timed > 0 else None

    def seconds_left(self, now: float) -> float:
        """Checkpoints included, at the pace so far. Raises ZeroDivisionError before the first step."""
        return (now - self._began) / self.done * (self.todo - self.done)


def time_of_day(end: datetime, now: datetime) -> str:
    """When something ends, as a person would say it: 20:41, or on another day Mon 30 Nov, 04:10."""
    return f"{end:%H:%M}" if end.date() == now.date() else f"{end:%a %d %b, %H:%M}"


def end_after(seconds: float) -> str:
    """The local time of day in so many seconds."""
    now = datetime.now()
    return time_of_day(now + timedelta(seconds=seconds), now)
