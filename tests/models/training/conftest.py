"""What tests of the trainers share: a trainer as our functions build it, and a reporter that keeps what it hears."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import Trainer

from tests.models.training.little_runs import Recorder

ROOT = Path(__file__).parents[3]
Launch = Callable[..., int]
Build = Callable[[ModuleType, Callable[[], object]], Trainer]


class _Built(Exception):  # noqa: N818
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """Follow a training function up to its first step and return the trainer it has built, data and all."""

    def follow(module: ModuleType, run: Callable[[], object]) -> Trainer:
        def stop(trainer: Trainer, *_: object, **__: object) -> None:
            raise _Built(trainer)

        with monkeypatch.context() as patch:
            patch.setattr(module, "run_trainer", stop)
            with pytest.raises(_Built) as caught:
                run()
        found = caught.value.trainer
        with torch.no_grad():  # fresh weights predict all tokens alike: a shifted label would hardly show
            for name, parameter in found.model.named_parameters():
                if parameter.requires_grad and "norm" not in name and parameter.std() < 0.05:
                    parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
        return found

    return follow


@pytest.fixture(autouse=True)
def device_of_its_own() -> Iterator[None]:
    """A trainer leaves its device in accelerate's process-wide state. Steps have a process each; tests do not."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def launch(gqa_policy: Path, reward_folders: dict[str, Path], adapter_folders: dict[str, Path]) -> Iterator[Launch]:
    """Run one training in a process of its own; returns its exit code, -9 where it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.models.training.launcher"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    assert stdout.readline() == "ready\n"

    def run(
        trainer: str,
        folder: Path,
        *,
        die_before: str | None = None,
        checkpoint_seconds: float = 1e-6,
        nodes: int = 1,
        absent: Sequence[int] = (),
        addresses: Sequence[str] | None = None,
        networks: Sequence[str] = (),
        wait_seconds: float = 60.0,
        **changes: Any,
    ) -> int:
        job: dict[str, Any] = {
            "trainer": trainer,
            "folder": str(folder),
            "policy": str(gqa_policy),
            "reward": str((adapter_folders if trainer == "ppo on one base" else reward_folders)["gqa"]),
            "die_before": die_before,
            "checkpoint_seconds": checkpoint_seconds,
            "nodes": nodes,
            "absent": list(absent),
            "addresses": addresses or ["127.0.0.1"] * nodes,
            "networks": list(networks),
            "wait_seconds": wait_seconds,
            "changes": changes,
        }
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        return int(stdout.readline())

    yield run
    stdin.close()
    process.wait(timeout=120)
