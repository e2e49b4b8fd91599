"""Assets of other runs."""

from dataclasses import dataclass

from data_store.incoming.adoption import adopt, adopted_asset, offered
from data_store.names import AssetName
from data_store.records import RunInput
from tasks.engine.reading import Incoming, Outside, Reading


@dataclass(frozen=True)
class Adopted(Incoming):
    """An asset of another run in the same home, copied into this store."""

    is_of_another_run = True
    run: str
    name: AssetName

    def __str__(self) -> str:
        return f"adopted {self.run} {self.name}"

    def resolve(self, at: Reading) -> RunInput:
        """The copy; it is made where the other run has something newer."""
        return at.of_source(adopt(at.store, self.run, self.name))

    def look(self, at: Reading) -> Outside:
        """What the other run has now, or what was copied, where that run is gone."""
        asset = adopted_asset(self.run, self.name)
        today = offered(at.store, self.run, self.name) or at.known(asset)
        return Outside(at.role, asset, today, f"{self.name} of run {self.run}")
