"""Two processes that take turns at the same work, so that whatever else the machine does hits both alike.

A side is a process that waits for a line, works, and answers with CPU seconds and what it did. The driver asks the
sides in turn; the figure is the median over rounds of theirs / ours.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.answers.write(json.dumps({"seconds": seconds, "peak_mb": peak, **work}) + "\n")
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
        self.process.stdin.close()
        self.process.wait()


def alternate(sides: Sequence[Side], rounds: int, warm_up: int = 1) -> dict[str, list[dict[str, Any]]]:
    """What each side answered, round by round, those of the warm-up left out."""
    for side in sides:
        side.start()
    found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    try:
        for number in range(warm_up + rounds):
            for side in sides if number % 2 else reversed(sides):
                answer = side.work()
                if number >= warm_up:
                    found[side.name].append(answer)
    finally:
        for side in sides:
            side.stop()
    return found


def ratios(
    found: Mapping[str, Sequence[Mapping[str, float]]], work: str = "tokens of an answer", *, per_unit: bool = False
) -> int:
    """Prints each side's `length` (what `work` names), median CPU seconds, peak memory, and the median of theirs /
    ours, round by round; ours is the first. With `per_unit` seconds are compared for equal lengths. 1 where two sides
    differ in length by more than a tenth, else 0."""
    lengths = {side: statistics.fmean(answer["length"] for answer in answers) for side, answers in found.items()}

    def cost(answer: Mapping[str, float]) -> float:
        return answer["seconds"] / (answer["length"] if per_unit else 1.0)

    ours = next(iter(found.values()))
    print(f"| side | {work} | CPU s | peak MB | theirs / ours |\n|---|---|---|---|---|")
    for side, answers in found.items():
        seconds = statistics.median(answer["seconds"] for answer in answers)
        ratio = statistics.median(cost(their) / cost(our) for their, our in zip(answers, ours, strict=True))
        peak = max(answer.get("peak_mb", 0.0) for answer in answers)  # older trees do not tell
        print(f"| {side} | {lengths[side]:.1f} | {seconds:.3f} | {peak:.0f} | {ratio:.2f} |")
    return 1 if max(lengths.values()) > 1.1 * min(lengths.values()) else 0


def trl_turns(prompts: int) -> Any:
    """A callback that takes turns of an iteration in the loop of TRL's PPO trainer; `prompts` are those of one."""
    import torch
    from transformers import TrainerCallback
    from trl.experimental.ppo import ppo_trainer

    turn, lengths = Turn(), [0.0]
    plain = ppo_trainer.truncate_response

    def listen(stop: int, pad: int, responses: torch.Tensor) -> torch.Tensor:
        cut: torch.Tensor = plain(stop, pad, responses)
        lengths.append(float((cut != pad).sum()))
        return cut

    class Takes(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turn.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turn.end(length=sum(lengths) / prompts)
            lengths.clear()
            turn.begin()

    ppo_trainer.truncate_response = listen
    return Takes()
