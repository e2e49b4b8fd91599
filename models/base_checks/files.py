"""The files of a model's folder: all there, whole, and every weight a number. No tensor is held whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from models.base_checks.finding import Finding

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_AT_ONCE = 2**24  # numbers that are looked at together


def check_files(folder: Path) -> Finding:
    """Raises ValueError naming the file for: a pointer of git-lfs in the place of a file, an index that names what is
    not there, a file that is cut short. Reads the heads of the files alone."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and _begins_with_pointer(path):
            raise ValueError(
                f"{path.name}: a pointer of git-lfs stands in the place of the file: fetch it (`git lfs pull`)"
            )
    names = shards_of(folder)
    weights = sum(len(list(_names_in(path))) for path in names)
    return Finding("files", f"{len(names)} safetensors with {weights} tensors, all whole")


def check_finite(folder: Path) -> Finding:
    """Raises ValueError naming file and tensor where a weight is NaN or infinite."""
    for path in shards_of(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dictionary)
                if not all(map(_is_finite, _parts(file, name))):
                    raise ValueError(
                        f"{path.name}: {name} holds NaN or infinite numbers: the file is damaged, or was saved after a "
                        "training that diverged; take another copy, or an earlier checkpoint"
                    )
    return Finding("weights", "every weight is a finite number")


def shards_of(folder: Path) -> dict[Path, set[str]]:
    """The files that transformers reads, each with the weights that it must hold (empty where no index says so).
    Raises ValueError where they are not there."""
    if (folder / WEIGHTS).is_file():
        return {folder / WEIGHTS: set()}
    index = folder / INDEX
    if not index.is_file():
        raise ValueError(f"there is neither {WEIGHTS} nor {INDEX}: copy the whole folder of the model")
    try:
        placed: Mapping[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[Path, set[str]] = {}
        for name, file in placed.items():
            shards.setdefault(folder / file, set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{INDEX}: it holds no weight_map from weights to files: copy it again") from None
    for path, names in sorted(shards.items()):
        if not path.is_file():
            raise ValueError(f"{INDEX}: it names {path.name}, which is not there: copy the whole folder of the model")
        if lacking := names - set(_names_in(path)):
            raise ValueError(
                f"{path.name}: {min(lacking)} is not in it, though {INDEX} says so: copy both from one place"
            )
    return shards


def _names_in(path: Path) -> Iterator[str]:
    try:
        with safe_open(path, "pt") as file:
            yield from file.keys()
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name}: it is cut short, or no safetensors file ({error}): copy it again, and compare its size"
        ) from None


def _begins_with_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _parts(file: safe_open, name: str) -> Iterator[torch.Tensor]:
    part = file.get_slice(name)  # type: ignore[no-untyped-call]
    shape = part.get_shape()
    if not shape:
        yield file.get_tensor(name)  # type: ignore[no-untyped-call]
        return
    rows = max(1, _AT_ONCE * shape[0] // max(1, torch.Size(shape).numel()))
    for start in range(0, shape[0], rows):
        yield part[start : start + rows]


def _is_finite(values: torch.Tensor) -> bool:
    if not values.is_floating_point() or not values.numel():
        return True
    values = values.float() if values.element_size() == 1 else values
    return bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())  # both are NaN where one number is
