"""What a training on transformers tells while it goes on, and when it must stop or write a checkpoint."""

import math
import time
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.config import TrainerConfig
from models.training.pace import Pace, end_after
from models.training.reporting import Reporter


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
        if going_on and now - self.saved >= self.config.checkpoint_seconds:
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
