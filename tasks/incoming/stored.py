"""Assets of the store itself."""

from dataclasses import dataclass

from data_store.names import AssetName
from data_store.records import RunInput
from tasks.engine.reading import Incoming, Reading


@dataclass(frozen=True)
class Asset(Incoming):
    """What an asset of this store points to when the step runs: an edge of the plan."""

    name: AssetName

    def __str__(self) -> str:
        return str(self.name)

    @property
    def edge(self) -> AssetName:
        """Itself."""
        return self.name

    def resolve(self, at: Reading) -> RunInput:
        """Where it points, and which run made that."""
        head = at.made(self.name)
        return RunInput(at.role, self.name, head.version_id, head.run_id)
