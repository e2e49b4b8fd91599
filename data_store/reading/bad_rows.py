"""What was read and is of no use: refused by name, and, where it cannot be read at all, stopping the reading or counted
like the others."""

import re
from typing import NamedTuple

from data_store.errors import InputError

BAD_ROW = "bad_row"
"""Why a row is refused that cannot be read; the detail is the message that would have stopped the reading, with the
file's name in the place of its path."""


class RefusedRowError(Exception):
    """A row that is well-formed but of no use: a reason from a fixed list, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Refusal(NamedTuple):
    """What was refused: where it stands, a reason from a fixed list, and the detail."""

    source: str
    reason: str
    detail: str


class BadRows:
    """What becomes of rows that cannot be read: the first one stops the reading, or with `drop` each is left out and
    kept here as a refusal. `most`: so many records of a file are looked at; all of them if not given."""

    def __init__(self, *, drop: bool = False, most: int | None = None) -> None:
        self.drop, self.most = drop, most
        self._met: list[Refusal] = []

    def meet(self, error: InputError, *sources: str) -> None:
        """One or several rows that the error speaks of. Raises it again where the reading is to stop."""
        if not self.drop:
            raise error
        self._met += [Refusal(source, BAD_ROW, _named(str(error), source)) for source in sources]

    def taken(self) -> list[Refusal]:
        """Those that were met since the last call."""
        met, self._met = self._met, []
        return met


def _named(message: str, source: str) -> str:
    """What is kept says nothing of where a file lay on this machine: a step often reads a copy."""
    name = re.escape(source.rpartition(":")[0])
    return re.sub(rf"\A.*?(?={name}(?::| line \d| row \d))", "", message)
