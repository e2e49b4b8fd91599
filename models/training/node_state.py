"""What the newest checkpoint of a training's nodes consists of, brought to all of them.

Only the first training process writes checkpoints, so they lie on the machine that had the first node. Where a training
goes on, another machine may have it; whichever node has the newest checkpoint then gives it to the others.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.training.state import newest_checkpoint, replacing, state_files

_PIECE = 4 << 20  # bytes; torch's store takes values of up to eight MiB


def share_state(store: Any, node: int, nodes: int, work: Path) -> None:
    """Have the files of the newest checkpoint in the folder `work` of each node; all must call it. `store` is torch's,
    which they share. Raises ValueError for a file that would lie outside of that folder."""
    found = newest_checkpoint(work)
    store.set(f"state/{node}", str(-1 if found is None else found[1]))
    steps = [int(store.get(f"state/{each}")) for each in range(nodes)]
    giver = steps.index(max(steps))
    takers = [each for each in range(nodes) if steps[each] != steps[giver]]
    if node == giver and takers:
        _give(store, work, takers)
    elif node in takers:
        with replacing(work, steps[giver]) as folder:
            _take(store, node, folder)


def _give(store: Any, work: Path, takers: list[int]) -> None:
    for number, piece in enumerate(_pieces(work)):
        store.set(f"piece/{number}", piece)
        store.wait([f"taken/{number}/{node}" for node in takers])
        store.delete_key(f"piece/{number}")


def _take(store: Any, node: int, folder: Path) -> None:
    number, name = 0, "."
    while name:
        head, _, content = store.get(f"piece/{number}").partition(b"\n")
        if name := json.loads(head):
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise ValueError(f"another node gives a file {name!r}, which is none of a checkpoint")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content)
        store.set(f"taken/{number}/{node}", b"")
        number += 1


def _pieces(work: Path) -> Iterator[bytes]:
    """Of the files, one after another: a line with the name, and some of the content. The last one has no name."""
    for path in state_files(work):
        head = json.dumps(str(path.relative_to(work))).encode() + b"\n"
        with path.open("rb") as file:
            while (content := file.read(_PIECE)) or not file.tell():
                yield head + content
                if not content:
                    break
    yield json.dumps("").encode() + b"\n"
