"""Where today's code differs from the code that made something."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.engine.code import ROOT

_MOST_NAMED = 4


def few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class CodeToday:
    """The source files as they are now; each is read once."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._hashes: dict[str, str] = {}

    def differs(self, recorded: Mapping[str, str]) -> tuple[str, ...]:
        """Of the files that a run recorded (path → sha256) those that are others now, or gone. What a step imports
        today and did not then shows in the file that imports it."""
        return tuple(path for path, sha256 in recorded.items() if self._sha256(path) != sha256)

    def _sha256(self, path: str) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = hashlib.sha256((self.root / path).read_bytes()).hexdigest()
            except OSError:
                self._hashes[path] = ""
        return self._hashes[path]
