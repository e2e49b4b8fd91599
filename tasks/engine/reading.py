"""What a step reads. There is one type of it, whose members each know which version they are today, and what must
happen before: each is a file of this folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from data_store.annotation.book import Book
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import Head, RunInput
from data_store.store import Store

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Reading:
    """Where something is read: by a step of a part, under a role, as the `number`-th there. `heads` is where assets
    point; `book` is the annotation book, for looks at it where there is one."""

    store: Store
    heads: Mapping[AssetName, Head]
    part: str
    step: str
    role: str
    number: int
    book: Book | None = None

    @property
    def who(self) -> str:
        """The step, in words."""
        return f"{self.step} of {self.part}"

    def made(self, asset: AssetName) -> Head:
        """Where an asset of this store points. Raises InputError for one that no step has made."""
        head = self.heads.get(asset)
        if head is None:
            raise InputError(f"{self.who} needs {asset}, which no step has made yet: run the recipe first")
        return head

    def of_source(self, head: Head) -> RunInput:
        """A source of this store as an input: no run made it."""
        return RunInput(self.role, head.asset, head.version_id, None)

    def known(self, asset: AssetName) -> str | None:
        """The version that an asset points to, where it does."""
        return self.heads[asset].version_id if asset in self.heads else None


@dataclass(frozen=True)
class Outside:
    """One input from outside, as it is now. `version_id` is what it would be, None where it is not there, which
    `absent` says; `what` names it for people. Of files: `path` is the file or the folder, `files` what lies there, by
    path inside it, with hashes."""

    role: str
    asset: AssetName
    version_id: str | None
    what: str
    path: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    absent: str = "is not there yet"


@dataclass(frozen=True)
class Wait:
    """What a part waits for. `judgements` of `wanted` are there; `deadline` is in seconds since 1970; `ended` says why
    there is nothing more to wait for: the next run goes on."""

    part: str
    step: str
    batch_id: str
    judgements: int
    wanted: int
    deadline: float | None
    ended: str | None

    def __str__(self) -> str:
        text = f"{self.judgements} of {self.wanted} judgements in batch {self.batch_id}"
        if self.ended is not None:
            return f"{text}: {self.ended}, the next run goes on"
        if self.deadline is None:
            return text
        return f"{text}, until {datetime.fromtimestamp(self.deadline, UTC):%F %R} UTC"

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


class Incoming(ABC):
    """One thing that a step reads. `reads_book`: a look at it is one into the annotation book. `is_of_another_run`: it
    is copied from another run's store, which may be gone later."""

    reads_book: ClassVar[bool] = False
    is_of_another_run: ClassVar[bool] = False

    @property
    def edge(self) -> AssetName | None:
        """The asset of this store that it is: an edge of the plan. None for what comes from outside."""
        return None

    @property
    def file(self) -> Path | None:
        """The file or folder outside the store that it is, where it is one."""
        return None

    @abstractmethod
    def resolve(self, at: Reading) -> RunInput:
        """The version that is read now; what comes from outside is registered as a source of the store. Raises
        InputError that says what is missing, and what to do."""

    def look(self, at: Reading) -> Outside | None:
        """The same of what comes from outside, writing nothing; None for what does not, or cannot be told yet."""
        return None

    def check(  # noqa: B027  (most have nothing to look for)
        self, store: Store | None, heads: Mapping[AssetName, Head], part: str
    ) -> None:
        """What can be told before anything runs; `store` is None where the run has none yet. Raises InputError for what
        will be missing later."""

    def prepare(self, at: Reading, on_progress: Progress) -> Wait | None:
        """What must happen before it can be read. Gives what has to be waited for. May be repeated, and cut off."""
        return None
