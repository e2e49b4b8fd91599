"""PPO in two processes, each with its part of the prompts and of every mini-batch, is PPO in one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.ports import free_port

ROOT = Path(__file__).parents[3]
Run = Callable[[int, Path, Path, Path, bool], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run PPO in some processes; returns what each of them has to say, or fails with what they wrote."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.models.training.ppo_processes"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def ask(processes: int, folder: Path, policy: Path, reward: Path, one_base: bool) -> list[dict[str, Any]]:
        folder.mkdir()
        port = free_port()
        job = {
            "processes": processes, "folder": str(folder), "policy": str(policy), "reward": str(reward),
            "one_base": one_base, "port": port,
        }  # fmt: skip
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        code = stdout.readline()
        assert code == "0\n", [file.read_text()[-2000:] for file in folder.glob("output-*.txt")]
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]

    yield ask
    stdin.close()
    server.wait(timeout=30)


def same_weights(first: Path, second: Path, atol: float) -> None:
    ours, theirs = load_file(first), load_file(second)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert float((theirs[name] - weight).abs().max()) <= atol, name


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "one_base"), [("mha", False), ("gqa", True)], ids=["whole models", "one base"])
@pytest.mark.conformance("two-process training differs", equation="models.training.ppo_update:update")
def test_two_processes_give_the_rollouts_losses_gradients_and_weights_of_one(
    run: Run,
    heads: str,
    one_base: bool,
    policy_folders: dict[str, Path],
    reward_folders: dict[str, Path],
    adapter_folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Two iterations of four mini-batches, in parts of two rows in one process and of one row in each of two. Rewards
    are whitened over 8 responses, of which each process has drawn 4, and advantages over all their tokens."""
    reward = (adapter_folders if one_base else reward_folders)[heads]
    [alone] = run(1, tmp_path / "1", policy_folders[heads], reward, one_base)
    first, second = run(2, tmp_path / "2", policy_folders[heads], reward, one_base)

    # held-out prompts first: 4 of them in groups of 2; then 8 in each of two iterations
    assert alone["answered"] == [2] * (2 + 4 + 4 + 2)
    assert first["answered"] == second["answered"] == [2] * (1 + 2 + 2 + 1)

    assert first["reported"] == second["reported"]
    assert first["metrics"] == second["metrics"]
    assert first["metrics"].keys() == alone["metrics"].keys()
    for (name, number, step), (same, theirs, at) in zip(alone["reported"], first["reported"], strict=True):
        assert (same, at) == (name, step)
        assert theirs == pytest.approx(number, rel=1e-4, abs=2e-6), name
    norms = [number for name, number, _ in alone["reported"] if name.endswith("grad_norm")]
    assert min(norms) > 1e-3

    for role in ("policy", "value"):
        same_weights(tmp_path / "2" / f"{role}-0.safetensors", tmp_path / "2" / f"{role}-1.safetensors", atol=0)
        same_weights(tmp_path / "1" / f"{role}-0.safetensors", tmp_path / "2" / f"{role}-0.safetensors", atol=1e-6)
        kept = tmp_path / "2" / "work" / "checkpoint-2" / f"{role}.safetensors"
        same_weights(kept, tmp_path / "2" / f"{role}-0.safetensors", atol=0)
    written = "adapter_model.safetensors" if one_base else "model.safetensors"
    same_weights(tmp_path / "1" / "out" / written, tmp_path / "2" / "out" / written, atol=1e-6)
