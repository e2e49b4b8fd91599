"""A training that is killed and started again gives the bytes of one that was not, and says where it went on."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Launch = Callable[..., int]


@pytest.fixture(scope="module")
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

    def run(trainer: str, folder: Path, *, die_before: str | None = None, checkpoint_seconds: float = 1e-6) -> int:
        job: dict[str, Any] = {
            "trainer": trainer,
            "folder": str(folder),
            "policy": str(gqa_policy),
            "reward": str((adapter_folders if trainer == "ppo on one base" else reward_folders)["gqa"]),
            "die_before": die_before,
            "checkpoint_seconds": checkpoint_seconds,
        }
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        return int(stdout.readline())

    yield run
    stdin.close()
    process.wait(timeout=30)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("trainer", ["pretrain", "sft", "reward", "ppo", "ppo on one base", "dpo"])
@pytest.mark.conformance(
    "resume quietly does nothing, or skips data", equation="models.training.state:write_checkpoint"
)
@pytest.mark.conformance("a flag for resume is ignored", equation="models.training.hf:run_trainer")
def test_four_steps_equal_kills_and_resumes_to_the_bit_within_an_epoch_and_at_its_end(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert launch(trainer, straight, checkpoint_seconds=1e9) == 0, (straight / "output.txt").read_text()[-3000:]
    assert not list((straight / "work").glob("checkpoint-*"))

    assert launch(trainer, broken, die_before="checkpoint-2") == -9, (broken / "output.txt").read_text()[-3000:]
    assert [path.name for path in (broken / "work").glob("checkpoint-*")] == ["checkpoint-1"]
    assert (broken / "work" / "writing-2").exists()  # what was cut off is never taken for a checkpoint
    assert launch(trainer, broken, die_before="checkpoint-3") == -9
    assert [path.name for path in (broken / "work").glob("checkpoint-*")] == ["checkpoint-2"]
    name = trainer.split()[0]
    if name != "ppo":
        state = json.loads((broken / "work" / "checkpoint-2" / "state.json").read_text())
        assert state["trainer"]["epoch"] == 1.0
    assert not (broken / "metrics.json").exists()
    assert launch(trainer, broken) == 0, (broken / "output.txt").read_text()[-3000:]

    assert contents(broken / "out") == contents(straight / "out")
    assert json.loads((broken / "metrics.json").read_text()) == json.loads((straight / "metrics.json").read_text())
    unit = "iteration" if name == "ppo" else "step"
    assert (broken / "log.txt").read_text().splitlines() == [
        f"{name}: resumed from {unit} 1",
        f"{name}: resumed from {unit} 2",
    ]
    assert not (straight / "log.txt").exists()
