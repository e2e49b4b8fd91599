"""What is said of drawn pairs outside the store, by whomever: it is there when `prepare` has seen to it."""

from abc import abstractmethod
from dataclasses import dataclass

from data_store.errors import InputError
from data_store.names import AssetName
from data_store.records import RunInput
from tasks.engine.reading import Incoming, Outside, Reading


@dataclass(frozen=True)
class OfPairs(Incoming):
    """Verdicts or answers on these pairs: a source that is named by the version of the pairs."""

    pairs: AssetName

    @abstractmethod
    def source(self, part: str, pairs_version: str) -> AssetName:
        """The source that it becomes."""

    @abstractmethod
    def lacking(self) -> str:
        """Why the source is not there, and what to do."""

    @abstractmethod
    def said(self, at: Reading) -> str:
        """What it is, for people."""

    def today(self, at: Reading) -> str | None:
        """The version that the source of the pairs would be now, writing nothing."""
        return at.known(self.source_at(at))

    def source_at(self, at: Reading) -> AssetName:
        """The source of the pairs as they are. Raises InputError where none were drawn."""
        return self.source(at.part, at.made(self.pairs).version_id)

    def resolve(self, at: Reading) -> RunInput:
        """The source of these pairs, once it is there."""
        source = self.source_at(at)
        if source not in at.heads:
            raise InputError(f"{at.who} needs {source}: {self.lacking()}")
        return at.of_source(at.heads[source])

    def look(self, at: Reading) -> Outside | None:
        """The same as it is now; nothing can be told before the pairs are drawn."""
        if self.pairs not in at.heads:
            return None
        return Outside(at.role, self.source_at(at), self.today(at), self.said(at))
