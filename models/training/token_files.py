"""The tokens of many documents in one file that is mapped into memory, so that no corpus has to be held."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

_TYPE = np.dtype("<u4")


class TokenFile:
    """Documents by number, each a run of token ids. Opened from what `write_tokens` has written."""

    def __init__(self, folder: Path) -> None:
        self._bounds = np.load(folder / "bounds.npy")
        self._ids = np.memmap(folder / "ids.bin", _TYPE, "r") if self._bounds[-1] else np.zeros(0, _TYPE)
        if len(self._ids) != self._bounds[-1]:
            raise ValueError(f"{folder}: {len(self._ids)} tokens where {self._bounds[-1]} were written")

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def total(self) -> int:
        """Tokens of all documents."""
        return int(self._bounds[-1])

    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document."""
        found: npt.NDArray[np.int64] = np.diff(self._bounds)
        return found

    def length(self, document: int) -> int:
        """Tokens of one."""
        return int(self._bounds[document + 1] - self._bounds[document])

    def read(self, document: int, begin: int, end: int) -> list[int]:
        """The ids of a document from `begin` to `end`."""
        start = int(self._bounds[document])
        found: list[int] = self._ids[start + begin : start + end].tolist()
        return found


def write_tokens(documents: Iterable[tuple[int, list[int]]], folders: list[Path]) -> list[TokenFile]:
    """Write documents, each the number of its folder and its ids, as they come; nothing but the bounds is held. Folders
    whose bounds stand are complete and taken as they are: the bounds are written last."""
    if all((folder / "bounds.npy").exists() for folder in folders):
        return [TokenFile(folder) for folder in folders]
    bounds: list[list[int]] = [[0] for _ in folders]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bounds.npy").unlink(missing_ok=True)
    files = [(folder / "ids.bin").open("wb") for folder in folders]
    try:
        for number, ids in documents:
            files[number].write(np.asarray(ids, _TYPE).tobytes())
            bounds[number].append(bounds[number][-1] + len(ids))
    finally:
        for file in files:
            file.close()
    for folder, ends in zip(folders, bounds, strict=True):
        temporary = folder / "bounds.tmp.npy"
        np.save(temporary, np.asarray(ends, np.int64))
        temporary.replace(folder / "bounds.npy")
    return [TokenFile(folder) for folder in folders]
