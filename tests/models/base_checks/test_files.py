"""Files that are not there, not whole, or hold what is no number."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from models.base_checks.examine import examine_base
from models.base_checks.files import check_files, check_finite
from tests.models.base_checks.conftest import Brought

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(brought: Brought) -> Path:
    """Several shards and their index."""
    folder = brought()
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="40KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def shard(folder: Path) -> Path:
    return sorted(folder.glob("*.safetensors"))[1]


def cut(folder: Path) -> None:
    path = shard(folder)
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_head(folder: Path) -> None:
    path = shard(folder)
    path.write_bytes(path.read_bytes()[:20])


def empty(folder: Path) -> None:
    shard(folder).write_bytes(b"")


def pointer(folder: Path) -> None:
    shard(folder).write_bytes(POINTER)


def pointer_for_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(POINTER)


def gone(folder: Path) -> None:
    shard(folder).unlink()


def another(folder: Path) -> None:
    save_file({"x": torch.ones(1)}, shard(folder), metadata={"format": "pt"})


def no_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def index_cut(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"a":')


def index_of_nothing(folder: Path) -> None:
    (folder / INDEX).write_text("[]")


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut, r"model-00002-of-\d+.safetensors: it is cut short.*copy it again"),
    "cut in its head": (cut_in_the_head, r"model-00002-of-\d+.safetensors: it is cut short"),
    "empty": (empty, r"model-00002-of-\d+.safetensors: it is cut short"),
    "a pointer of git-lfs": (pointer, r"model-00002-of-\d+.safetensors: a pointer of git-lfs.*git lfs pull"),
    "a pointer for the tokenizer": (pointer_for_the_tokenizer, "tokenizer.json: a pointer of git-lfs"),
    "gone": (gone, f"{INDEX}: it names model-00002-of-.* which is not there"),
    "another file": (another, f"model-00002-of-.*: .* is not in it, though {INDEX} says so"),
    "no index": (no_index, f"neither model.safetensors nor {INDEX}"),
    "an index that is cut": (index_cut, f"{INDEX}: it holds no weight_map"),
    "an index of nothing": (index_of_nothing, f"{INDEX}: it holds no weight_map"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_a_file_that_is_not_whole_is_named(sharded: Path, spoil: Callable[[Path], None], message: str) -> None:
    check_files(sharded)
    spoil(sharded)
    with pytest.raises(ValueError, match=message):
        examine_base(sharded, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_weight_that_is_no_number_is_named_with_its_file(sharded: Path, value: float, dtype: torch.dtype) -> None:
    path = shard(sharded)
    weights = {name: weight.to(dtype) for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    check_finite(sharded)
    name = sorted(weights)[-1]
    weights[name].view(-1)[-1] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{path.name}: {name} holds NaN or infinite numbers"):
        examine_base(sharded, None)


def test_weights_are_looked_at_piece_by_piece(brought: Brought, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = brought()
    path = folder / "model.safetensors"
    weights = load_file(path)
    monkeypatch.setattr("models.base_checks.files._AT_ONCE", 64)  # two rows of 32
    check_finite(folder)
    for row in (0, 1, 2, 3, -1):
        spoiled = {name: weight.clone() for name, weight in weights.items()}
        spoiled["model.embed_tokens.weight"][row, 5] = float("nan")
        save_file(spoiled, path, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=r"model.embed_tokens.weight holds NaN"):
            check_finite(folder)


def test_large_and_whole_numbers_and_single_ones_are_weights_as_well(tmp_path: Path) -> None:
    largest = torch.finfo(torch.bfloat16).max
    weights = {
        "large": torch.full((4, 4), largest, dtype=torch.bfloat16),
        "whole": torch.arange(6),
        "one": torch.tensor(1.0),
        "none": torch.zeros(0, 3),
    }
    save_file(weights, tmp_path / "model.safetensors")
    assert check_finite(tmp_path).check == "weights"


def test_a_head_that_promises_more_than_there_is_is_named(brought: Brought) -> None:
    folder = brought()
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    assert "model.norm.weight" in head
    path.write_bytes(content[: 8 + length])
    with pytest.raises(ValueError, match=r"model.safetensors: it is cut short"):
        examine_base(folder, None)
