"""Every trainer learns from passes by the kernel of its config, and learns the same."""

from pathlib import Path

import pytest
import torch

from models import learning_pass, onednn
from tests.models.training.little_runs import RUNS, Recorder, without_the_clock

LITTLE_STEPS = {"learning_rate": 1e-4}
# The next answers stay what they are, to the last token
OF_PPO = {"learning_rate": 1e-6, "value_learning_rate": 1e-6, "iterations": 1}


@pytest.mark.slow
@pytest.mark.skipif(not onednn.works(), reason="this torch has no oneDNN")
@pytest.mark.conformance("a gradient by hand", equation="models.learning_pass:fast_learning")
@pytest.mark.parametrize("name", RUNS)
def test_a_training_learns_the_same_by_either_kernel_and_by_the_one_that_its_config_names(
    name: str,
    gqa_policy: Path,
    reward_folders: dict[str, Path],
    adapter_folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def counted(weight: torch.Tensor, rows: int, least: int | None) -> bool:
        asked.append(rows)
        return onednn.learns_by_onednn(weight, rows, least)

    monkeypatch.setattr(learning_pass, "learns_by_onednn", counted)
    other = adapter_folders["gqa"] if name == "ppo on one base" else reward_folders["gqa"]
    steps = OF_PPO if name.startswith("ppo") else LITTLE_STEPS
    found, passes, told = {}, {}, {}
    for kernel in ("torch", "onednn"):
        asked.clear()
        torch.manual_seed(0)  # fresh adapters
        heard = Recorder()
        out, work = tmp_path / kernel, tmp_path / f"work-{kernel}"
        found[kernel] = RUNS[name](gqa_policy, other, out, work, heard, kernel=kernel, **steps)
        passes[kernel], told[kernel] = len(asked), heard.lines[0]
    assert passes["torch"] == 0 < passes["onednn"]
    assert "by torch" in told["torch"]
    assert "by oneDNN" in told["onednn"]
    found = {kernel: without_the_clock(metrics) for kernel, metrics in found.items()}
    assert found["onednn"] == pytest.approx(found["torch"], rel=2e-3, abs=1e-4)
