"""What a judge outside answered, as a source of the store: asked once, kept with a hash, read by steps.

Answers come one at a time and cost money, so each is on the disk before the next is asked for: a file beside the work
of the steps holds them until all are there.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO

import pyarrow as pa

from data_store.catalog.origins import AskedOrigin
from data_store.errors import StoreError
from data_store.files import append_whole
from data_store.incoming.sources import register_rows
from data_store.names import AssetName
from data_store.records import Head
from data_store.rows import ROW_KINDS
from data_store.store import Store

Key = tuple[str, str]


@dataclass(frozen=True)
class EndpointAnswer:
    """The answer to one question on one pair; or the reason for which there is none."""

    pair_id: str
    question: str
    answer: str | None
    refused: str | None


class AnswerFile:
    """Answers on their way. Use as a context: one process at a time asks the same questions, a second one waits."""

    def __init__(self, store: Store, asset: AssetName) -> None:
        self.path = store.root / "work" / f"{asset.name}.jsonl"
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "AnswerFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def read(self) -> dict[Key, EndpointAnswer]:
        """What is there; a last line that a kill cut short is cut off."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        found: dict[Key, EndpointAnswer] = {}
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                answer = EndpointAnswer(**json.loads(line))
            except (TypeError, ValueError) as error:
                raise StoreError(
                    f"{self.path}: line {number} is damaged ({error}): take it out, and its question is asked again"
                ) from None
            found[answer.pair_id, answer.question] = answer
        return found

    def clear(self) -> None:
        """Forget them. The file stays: another process may wait for its lock."""
        os.truncate(self.path, 0)

    def add(self, answer: EndpointAnswer) -> None:
        """Keep one more, durably; raises OSError where there is no room, and nothing of it is kept then."""
        if self._file is None:
            raise ValueError("the file of answers is not open")
        append_whole(self.path, json.dumps(asdict(answer)).encode() + b"\n")


def register_answers(
    store: Store, asset: AssetName, answers: Iterable[EndpointAnswer], *, model: str, url: str, pairs: Head
) -> Head:
    """Make all answers a source: those of `model` at `url` on these pairs."""
    rows = [asdict(answer) for answer in answers]
    outcomes = Counter(row["refused"] or "answered" for row in rows)
    origin = AskedOrigin(model, url, str(pairs.asset), pairs.version_id, dict(outcomes))
    return register_rows(store, asset, pa.Table.from_pylist(rows, schema=ROW_KINDS["answer"].schema), "answer", origin)
