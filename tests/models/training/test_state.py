"""Checkpoints of a running training: whole or absent, and everything comes back."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.training.state import newest_checkpoint, read_checkpoint, write_checkpoint


def trained(seed: int, steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(4, 3)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight], lr=0.1, betas=(0.8, 0.9))
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(2, 4)).square().sum().backward()
    optimizer.step()


def write(work: Path, number: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    return write_checkpoint(work, number, models={"model": model}, optimizers={"model": optimizer}, state={"n": number})


@pytest.mark.conformance("resume quietly does nothing, or skips data", equation="models.training.state:read_checkpoint")
def test_weights_optimizer_state_and_random_numbers_come_back_to_the_bit(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    folder = write(tmp_path, 3, model, optimizer)
    drawn = (random.random(), float(np.random.rand()), float(torch.rand(1)))
    step(model, optimizer)
    step(model, optimizer)

    other, other_optimizer = trained(2, steps=0)
    other.bias.data.copy_(model.bias)
    state = read_checkpoint(folder, models={"model": other}, optimizers={"model": other_optimizer})
    assert state == {"n": 3}
    assert (random.random(), float(np.random.rand()), float(torch.rand(1))) == drawn
    step(other, other_optimizer)
    step(other, other_optimizer)
    assert torch.equal(other.weight, model.weight)
    assert other_optimizer.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_only_trained_weights_are_stored_and_only_as_safetensors_and_json(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = write(tmp_path, 1, *trained(1))
    assert set(load_file(folder / "model.safetensors")) == {"weight"}
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


@pytest.mark.conformance("checkpoints fill the disk", equation="models.training.state:write_checkpoint")
def test_the_newest_is_the_highest_number_and_older_ones_go(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    assert newest_checkpoint(tmp_path) is None
    for number in (2, 9, 10):
        write(tmp_path, number, model, optimizer)
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    (tmp_path / "checkpoint-9").mkdir()  # a run that died between writing the new one and dropping the old
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 10)


def test_half_written_work_is_no_checkpoint_and_does_not_hinder_the_next(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    (tmp_path / "writing-4").mkdir()
    (tmp_path / "writing-4" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "checkpoint-old").mkdir()
    assert newest_checkpoint(tmp_path) is None
    folder = write(tmp_path, 4, model, optimizer)
    assert newest_checkpoint(tmp_path) == (folder, 4)
    assert not (tmp_path / "writing-4").exists()


def test_a_failure_while_writing_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    before = write(tmp_path, 1, model, optimizer)
    with pytest.raises(TypeError):  # a state that is not JSON
        write_checkpoint(tmp_path, 2, models={"model": model}, optimizers={}, state={"bad": object()})
    assert newest_checkpoint(tmp_path) == (before, 1)
    assert json.loads((before / "state.json").read_text())["n"] == 1


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, *trained(1))
    with pytest.raises(ValueError, match="does not fit this model"):
        read_checkpoint(folder, models={"model": nn.Linear(4, 3)}, optimizers={})


@pytest.mark.parametrize("name", ["state.json", "model.optimizer.json", "model.safetensors", "random.safetensors"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    model, optimizer = trained(1)
    folder = write(tmp_path, 1, model, optimizer)
    (folder / name).write_bytes((folder / name).read_bytes()[:-5])
    with pytest.raises(ValueError, match=rf"checkpoint {folder} is damaged .* delete this folder"):
        read_checkpoint(folder, models={"model": model}, optimizers={"model": optimizer})
