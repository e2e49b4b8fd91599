"""Which share of the drawn pairs each source judges."""

from typing import Any

from pydantic import Field, model_validator

from data_store.encoding import text_hash
from data_store.figures import figure
from models.config import Config


class SharesConfig(Config):
    """Which share of the drawn pairs each source judges."""

    simulated: float = Field(default=0.0, ge=0, le=1, description="The simulated annotator (annotator)")
    lm: float = Field(default=0.0, ge=0, le=1, description="The language model (collect.judge)")

    @model_validator(mode="after")
    def _make_one(self) -> "SharesConfig":
        if abs(self.simulated + self.lm - 1) > 1e-9:
            raise ValueError(f"the shares must add up to 1, not to {figure(self.simulated + self.lm, 6)}")
        return self

    def pairs_of(self, source: str, pair_ids: list[str]) -> frozenset[str]:
        """The pairs that a source judges: dealt out by a hash of their ids, each to one source."""
        dealt = sorted(pair_ids, key=lambda pair_id: text_hash(f"source {pair_id}"))
        cut = round(self.simulated * len(dealt))
        return frozenset(dealt[:cut] if source == "simulated" else dealt[cut:])

    def of(self, source: str, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same as rows of kind pair, in their order."""
        mine = self.pairs_of(source, [pair["pair_id"] for pair in pairs])
        return [pair for pair in pairs if pair["pair_id"] in mine]
