"""Checkpoints of a running training: weights, optimizer, scheduler, random states. Safetensors and JSON, written
atomically.

A folder `checkpoint-N` is complete or absent: it is written beside its place, flushed, and renamed.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from models.training.sharding import spread_like, whole

_NAME = re.compile(r"^checkpoint-(\d+)$")
_BESIDE = ("best", "looks")  # what a trainer keeps of the steps before a checkpoint (models/training/dpo.py, ppo.py)


def newest_checkpoint(work: Path) -> tuple[Path, int] | None:
    """The last complete checkpoint below `work` and the step it was made after."""
    found = [(int(match[1]), path) for path in work.glob("checkpoint-*") if (match := _NAME.match(path.name))]
    if not found:
        return None
    step, path = max(found)
    return path, step


def state_files(work: Path) -> list[Path]:
    """What the newest checkpoint below `work` consists of, with what stands beside it."""
    found = newest_checkpoint(work)
    folders = [] if found is None else [*(work / name for name in _BESIDE), found[0]]
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


@contextmanager
def replacing(work: Path, step: int) -> Iterator[Path]:
    """A folder to lay the state files of a training after `step` into; at the end they take the place of those below
    `work`, the checkpoint last."""
    temporary, target = work / f"writing-{step}", f"checkpoint-{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    _flush(temporary)
    for path in (*(work / name for name in _BESIDE), *work.glob("checkpoint-*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in sorted(temporary.iterdir(), key=lambda each: each.name == target):
        path.rename(work / path.name)
    temporary.rmdir()


def write_checkpoint(
    work: Path,
    step: int,
    *,
    models: dict[str, nn.Module],
    optimizers: dict[str, Optimizer],
    state: dict[str, Any],
    here: bool = True,
) -> Path:
    """Write `work/checkpoint-<step>` and drop older ones. Only trainable weights are stored; `state` must be JSON. Of a
    training that is spread over processes all must call this, and one of them writes `here`."""
    weights = {name: _trained(model, here) for name, model in models.items()}
    packed = {name: _pack_optimizer(optimizer, here) for name, optimizer in optimizers.items()}
    target, temporary = work / f"checkpoint-{step}", work / f"writing-{step}"
    if not here:
        return target
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, of_model in weights.items():
        save_file(of_model, temporary / f"{name}.safetensors")
    for name, (tensors, groups) in packed.items():
        save_file(tensors, temporary / f"{name}.optimizer.safetensors")
        (temporary / f"{name}.optimizer.json").write_text(json.dumps(groups))
    save_file(_random_tensors(), temporary / "random.safetensors")
    (temporary / "state.json").write_text(json.dumps({**state, "random": _random_json()}))
    _flush(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for path in work.glob("checkpoint-*"):
        if path != target:
            shutil.rmtree(path, ignore_errors=True)
    return target


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _trained(model: nn.Module, here: bool) -> dict[str, torch.Tensor]:
    return _copied(((k, v) for k, v in model.named_parameters() if v.requires_grad), here)


def _copied(tensors: Iterable[tuple[str, torch.Tensor]], here: bool) -> dict[str, torch.Tensor]:
    """One after another is put together, and kept `here` alone: all of them would not fit into each process."""
    found = {}
    for name, tensor in tensors:
        complete = whole(tensor.detach())
        if here:
            found[name] = complete.contiguous().clone()
    return found


def read_checkpoint(folder: Path, *, models: dict[str, nn.Module], optimizers: dict[str, Optimizer]) -> dict[str, Any]:
    """Put everything back in place and return `state`. Raises ValueError where a weight is missing or unknown, and for
    a checkpoint that is damaged."""
    try:
        return _read(folder, models, optimizers)
    except (OSError, SafetensorError, JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"the checkpoint {folder} is damaged ({error}): delete this folder, and the training begins anew"
        ) from None


def _read(folder: Path, models: dict[str, nn.Module], optimizers: dict[str, Optimizer]) -> dict[str, Any]:
    for name, model in models.items():
        weights = load_file(folder / f"{name}.safetensors")
        own = {k: v for k, v in model.named_parameters() if v.requires_grad}
        if set(weights) != set(own):
            raise ValueError(f"{folder} does not fit this model: {sorted(set(weights) ^ set(own))[:3]} …")
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(spread_like(weights[key], parameter))
    for name, optimizer in optimizers.items():
        groups = json.loads((folder / f"{name}.optimizer.json").read_text())
        _unpack_optimizer(optimizer, load_file(folder / f"{name}.optimizer.safetensors"), groups)
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    _restore_random(load_file(folder / "random.safetensors"), state.pop("random"))
    return state


def _pack_optimizer(optimizer: Optimizer, here: bool) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    state = optimizer.state_dict()
    tensors = (
        (f"{index}.{name}", torch.as_tensor(value))
        for index, entry in state["state"].items()
        for name, value in entry.items()
    )
    return _copied(tensors, here), state["param_groups"]


def _unpack_optimizer(optimizer: Optimizer, tensors: dict[str, torch.Tensor], groups: list[dict[str, Any]]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = spread_like(value, parameters[int(index)])
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _random_tensors() -> dict[str, torch.Tensor]:
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
    return tensors


def _random_json() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "numpy": [kind, np.asarray(keys).tolist(), *rest]}


def _restore_random(tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([tensors[f"cuda{i}"] for i in range(torch.cuda.device_count())])
    version, keys, gauss = plain["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, position, has_gauss, cached = plain["numpy"]
    np.random.set_state((kind, np.array(words, dtype=np.uint32), position, has_gauss, cached))
