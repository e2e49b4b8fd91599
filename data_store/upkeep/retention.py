"""How long the content of superseded versions stays."""

from pydantic import BaseModel, ConfigDict, Field


class Retention(BaseModel):
    """A superseded version stays while either of the two says so. What a head, or a step at work, needs always stays;
    what the catalog knows of a version stays too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_versions: int = Field(default=1, ge=0, description="Newest superseded versions of each asset")
    keep_days: float = Field(default=14.0, ge=0, description="Days since a version was superseded")
