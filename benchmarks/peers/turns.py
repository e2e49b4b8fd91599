"""Processes that take turns at the same work, so that whatever else the machine does hits all alike.

A side is a process that waits for a line, works, and answers with CPU seconds and what it did. The driver asks the
sides in turn. The first round warms up and is where they must show that their work is the same, before any is timed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.memory import peak_memory

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}


class Turn:
    """The side's end: `begin` waits to be asked, `end` answers. What libraries print goes to the error stream."""

    def __init__(self) -> None:
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.started = 0.0

    def begin(self) -> None:
        """Ends the process where nobody asks any more."""
        if not sys.stdin.readline():
            sys.exit(0)
        self.started = time.process_time()

    def end(self, **work: float) -> None:
        """`work` is what both sides must have done alike, by name."""
        seconds = time.process_time() - self.started
        self.answers.write(json.dumps({"seconds": seconds, "peak_mb": peak_memory() / 2**20, **work}) + "\n")
        self.answers.flush()


@dataclass
class Side:
    """The driver's end of a process."""

    name: str
    command: Sequence[str]
    tree: Path = ROOT
    libraries: Path | None = None  # a folder whose packages come before those that are installed

    def start(self) -> None:
        """Does not wait for it."""
        path = [str(folder) for folder in (self.libraries, self.tree) if folder]
        self.process = subprocess.Popen(
            [sys.executable, *self.command],
            cwd=self.tree,
            env={
                **os.environ,
                **ENVIRONMENT,
                "PYTHONPATH": os.pathsep.join(path),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def work(self) -> dict[str, Any]:
        """One turn. Raises RuntimeError where the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}: its messages stand above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """Its input ends, and so does it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def alternate(
    sides: Sequence[Side], rounds: int, alike: Mapping[str, float] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """What each side answered, round by round, after one round that warms up.

    `alike` names the numbers that all sides must answer alike and by how much they may differ, of the largest. Raises
    RuntimeError, before the first round that counts, where they do not.
    """
    for side in sides:
        side.start()
    found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    try:
        for number in range(1 + rounds):
            answers = {side.name: side.work() for side in (sides if number % 2 else reversed(sides))}
            if number == 0:
                for name, bound in (alike or {}).items():
                    require_alike(name, {side: answer[name] for side, answer in answers.items()}, bound)
                continue
            for name, answer in answers.items():
                found[name].append(answer)
    finally:
        for side in sides:
            side.stop()
    return found


def require_alike(name: str, numbers: Mapping[str, float], bound: float) -> None:
    """Raises RuntimeError where two of the sides' `numbers` differ by more than `bound` of the largest."""
    if max(numbers.values()) - min(numbers.values()) > bound * max(map(abs, numbers.values())):
        told = ", ".join(f"{side} {number!r}" for side, number in numbers.items())
        raise RuntimeError(f"the sides do not do the same work: {name} is {told}")


def epochs_of(trainer: Any, turn: Turn, work: Mapping[str, float], before: Callable[[], None] = lambda: None) -> None:
    """Lets a trainer of transformers take a turn an epoch, which answers with `work`. `before` is called first in each
    turn."""
    from transformers import TrainerCallback

    class Takes(TrainerCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            turn.begin()
            before()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            turn.end(**work)

    trainer.add_callback(Takes())


def listen(training: ModuleType, called: Callable[[Any], None]) -> None:
    """Calls `called` with the trainer that a function of this module of models/training/ has built, before it runs."""
    plain = training.run_trainer

    def run_trainer(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        called(trainer)
        return plain(trainer, *args, **kwargs)

    training.run_trainer = run_trainer  # type: ignore[attr-defined]


def trl_turns(prompts: int) -> Any:
    """A callback that takes turns of an iteration in the loop of TRL's PPO trainer; `prompts` are those of one."""
    import torch
    from transformers import TrainerCallback
    from trl.experimental.ppo import ppo_trainer

    turn, lengths = Turn(), list[float]()
    plain = ppo_trainer.truncate_response

    def listen(stop: int, pad: int, responses: torch.Tensor) -> torch.Tensor:
        cut: torch.Tensor = plain(stop, pad, responses)
        lengths.append(float((cut != pad).sum()))
        return cut

    class Takes(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turn.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turn.end(prompts=prompts, **{"tokens of an answer": sum(lengths) / prompts})
            lengths.clear()
            turn.begin()

    ppo_trainer.truncate_response = listen
    return Takes()
