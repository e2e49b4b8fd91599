"""What a training on transformers tells while it goes on, how fast it is, and when it must stop or write a checkpoint.

Its speed depends on the machine and its load: it is in no checkpoint and in no content.
"""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.config import TrainerConfig
from models.training.reporting import Reporter
from models.training.sharding import as_the_main_one_decides

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


class TrainingDivergedError(RuntimeError):
    """Loss, KL or entropy left the range in which going on makes sense."""


class Pulse(TrainerCallback):
    """Progress, metrics, checkpoints by the clock, and the stop where the loss is no number."""

    def __init__(
        self, config: TrainerConfig, reporter: Reporter, name: str, curves: Sequence[str], tokens: float
    ) -> None:
        self.config, self.reporter, self.name, self.tokens = config, reporter, name, tokens
        self.curves = ("loss", "grad_norm", "learning_rate", *curves)
        self.saved = time.monotonic()
        self.pace = Pace(0, 0, self.saved)
        self.steps = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.logging_steps = max(1, min(int(state.logging_steps), state.max_steps // 10))  # short runs have a loss too
        self.saved, self.steps = time.monotonic(), state.max_steps
        self.pace = Pace(state.global_step, state.max_steps, self.saved)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        now = time.monotonic()
        self.pace.stepped(now)
        going_on = state.global_step < state.max_steps and not control.should_training_stop
        due = now - self.saved >= self.config.checkpoint_seconds
        if going_on and self.config.shards > 1:  # each holds a part of the checkpoint
            due = as_the_main_one_decides(due)
        if going_on and due:
            control.should_save = True
            self.saved = now

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.pace.saved(time.monotonic())

    @property
    def tokens_per_second(self) -> float | None:
        """Of the steady state. None where the trainer does not say how many tokens it reads, or took too few steps."""
        seconds = self.pace.seconds_per_step
        return self.tokens / self.steps / seconds if self.tokens and seconds else None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        for name in ("loss", "grad_norm"):
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingDivergedError(f"{self.name}: {name} is {logs[name]} at step {state.global_step}")
        for name, value in logs.items():
            if name in self.curves and isinstance(value, (int, float)):
                self.reporter.metric(f"{self.name}/{name}", float(value), state.global_step)
        if "loss" in logs and self.pace.done:
            speed = self.tokens_per_second
            told = "" if speed is None else f", {speed:,.0f} tokens/s"
            self.reporter.progress(
                state.global_step / state.max_steps,
                f"{self.name} step {state.global_step}/{state.max_steps}, loss {logs['loss']:.3f}{told}, ends at "
                f"{end_after(self.pace.seconds_left(time.monotonic()))}",
            )
