"""A run that diverges stops with its own error and leaves the last good checkpoint, never a ruined one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.config import SFTConfig
from models.training.pulse import TrainingDivergedError
from tests.models.training.little_runs import Recorder, run_dpo, run_pretrain, run_reward, run_sft

# One AdamW step with these moves a weight w by about 3.35e38 (1 + |w|): beyond float32 where the signs agree.
EXPLOSIVE: dict[str, Any] = {"learning_rate": 3.35e38, "beta1": 0.0, "weight_decay": 1.0, "max_grad_norm": 1e9}


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_pretrain, run_sft, run_reward, run_dpo], ids=["pretrain", "sft", "reward", "dpo"])
@pytest.mark.conformance("a run that diverges goes on", equation="models.training.hf:require_finite")
def test_weights_that_blow_up_stop_the_run_and_are_never_saved(
    run: Callable[..., dict[str, float]],
    gqa_policy: Path,
    reward_folders: dict[str, Path],
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    """The warm-up's first step has rate 0 and is good; the second one throws the weights beyond float32."""
    out, work = tmp_path / "out", tmp_path / "work"
    with pytest.raises(TrainingDivergedError, match=r"no longer finite|loss is|grad_norm is"):
        run(gqa_policy, reward_folders["gqa"], out, work, recorder, **EXPLOSIVE, checkpoint_seconds=1e-6)
    assert not out.exists()
    [kept] = work.glob("checkpoint-*")
    assert all(torch.isfinite(weight).all() for weight in load_file(kept / "model.safetensors").values())


@pytest.mark.conformance("a run that diverges goes on", equation="models.training.hf:require_finite")
def test_weights_ruined_by_the_very_last_step_are_not_written(
    gqa_policy: Path, reward_folders: dict[str, Path], tmp_path: Path, recorder: Recorder
) -> None:
    changes = {**EXPLOSIVE, "max_steps": 1, "warmup_steps": 0}
    with pytest.raises(TrainingDivergedError, match=r"pretrain: the weights of .* are no longer finite"):
        run_pretrain(gqa_policy, reward_folders["gqa"], tmp_path / "out", tmp_path / "work", recorder, **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.conformance("a run that diverges goes on", equation="models.training.hf:ResumableTrainer.training_step")
def test_a_loss_that_is_no_number_stops_the_run_in_its_step(
    gqa_policy: Path, reward_folders: dict[str, Path], tmp_path: Path, recorder: Recorder
) -> None:
    """The poison is in the model that the run starts from."""
    poisoned = tmp_path / "poisoned"
    shutil.copytree(gqa_policy, poisoned)
    weights = load_file(poisoned / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingDivergedError, match="loss is nan in step 1"):
        run_sft(poisoned, reward_folders["gqa"], tmp_path / "out", tmp_path / "work", recorder, checkpoint_seconds=1e-6)
    assert not list((tmp_path / "work").glob("checkpoint-*"))


def test_a_batch_that_does_not_split_into_its_passes_and_processes_is_refused() -> None:
    SFTConfig(batch_size=6, accumulation_steps=3, processes=2)
    for accumulation_steps, processes in ((4, 1), (1, 4), (3, 4)):
        with pytest.raises(ValueError, match="batch_size 6 must be a multiple of accumulation_steps"):
            SFTConfig(batch_size=6, accumulation_steps=accumulation_steps, processes=processes)
