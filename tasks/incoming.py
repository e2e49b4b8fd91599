"""What a step reads, as the plan says it: assets of the store, and what comes from outside."""

from dataclasses import dataclass
from pathlib import Path

from data_store.names import AssetName
from tasks.judges import Asked


@dataclass(frozen=True)
class Asset:
    """What an asset of this store points to when the step runs."""

    name: AssetName

    def __str__(self) -> str:
        return str(self.name)


@dataclass(frozen=True)
class File:
    """A file or a folder outside the store."""

    path: Path

    def __str__(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True)
class Adopted:
    """An asset of another run, copied into this store."""

    run: str
    name: AssetName

    def __str__(self) -> str:
        return f"adopted {self.run} {self.name}"


@dataclass(frozen=True)
class Judged:
    """People's judgements of these pairs."""

    pairs: AssetName

    def __str__(self) -> str:
        return f"judged {self.pairs}"


@dataclass(frozen=True)
class Attacked:
    """The attacks of red teams on the policies of a part."""

    part: str

    def __str__(self) -> str:
        return f"attacked {self.part}"


Incoming = Asset | File | Adopted | Judged | Asked | Attacked
