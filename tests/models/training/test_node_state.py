"""A checkpoint on its way from one node to another, over torch's own store."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from models.training.node_state import share_state


@pytest.fixture
def stores() -> tuple[Any, Any]:
    """That of the first node and that of the second, which are one."""
    torch_store: Any = distributed.TCPStore  # type: ignore[attr-defined]
    patience = timedelta(seconds=20)
    first = torch_store("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=patience)
    return first, torch_store("127.0.0.1", first.port, is_master=False, wait_for_workers=False, timeout=patience)


def checkpoint(work: Path, step: int, **files: bytes) -> Path:
    for name, content in files.items():
        path = work / f"checkpoint-{step}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return work


def share(stores: tuple[Any, Any], *folders: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(share_state, store, node, 2, folders[node]) for node, store in enumerate(stores)]
        for each in both:
            each.result(timeout=60)


def files_in(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}


def test_the_newest_checkpoint_is_had_by_all_to_the_byte_and_an_older_one_is_gone(
    stores: tuple[Any, Any], tmp_path: Path
) -> None:
    """One file is larger than what the store takes at once, one is empty."""
    older = checkpoint(tmp_path / "first", 2, state=b"old", gone=b"old")
    newest = checkpoint(tmp_path / "second", 3, state=bytes(range(256)) * 40_000, empty=b"")
    wanted = files_in(newest)
    share(stores, older, newest)
    assert files_in(older) == files_in(newest) == wanted


def test_a_file_that_would_lie_outside_of_the_folder_is_not_written(stores: tuple[Any, Any], tmp_path: Path) -> None:
    first, second = stores
    second.set("state/1", "7")
    second.set("piece/0", json.dumps("../../outside").encode() + b"\nx")
    (tmp_path / "work").mkdir()
    with pytest.raises(ValueError, match=r"another node gives a file '../../outside'"):
        share_state(first, 0, 2, tmp_path / "work")
    assert not list(tmp_path.rglob("outside"))
