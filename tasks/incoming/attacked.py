"""What red teams found."""

from dataclasses import dataclass

from data_store.annotation.red_team_export import attacks_asset, attacks_today, hand_over_attacks
from data_store.records import RunInput
from tasks.engine.reading import Incoming, Outside, Reading


@dataclass(frozen=True)
class Attacked(Incoming):
    """The attacks of closed red-team sessions on the policies of a part."""

    reads_book = True
    part: str

    def __str__(self) -> str:
        return f"attacked {self.part}"

    def resolve(self, at: Reading) -> RunInput:
        """All attacks that are closed by now."""
        return at.of_source(hand_over_attacks(at.store, self.part))

    def look(self, at: Reading) -> Outside:
        """The same, from the annotation book; where that is gone, what it gave still holds."""
        asset = attacks_asset(self.part)
        known = at.known(asset)
        today = attacks_today(at.store, at.book, self.part) if known is None or at.book is not None else known
        return Outside(at.role, asset, today, f"what red teams attacked {self.part} with")
