"""What formats of preferences leave open, where several share it: how a difference becomes a rating word."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """The base of every format's options, whose fields are keys of `data.preference_options`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RatingGaps(Options):
    """The least difference of two ranks or scores for each rating word; a smaller one is negligibly better."""

    significantly_better: float = Field(gt=0, allow_inf_nan=False, description="From this difference on")
    better: float = Field(gt=0, allow_inf_nan=False, description="From this difference on")
    slightly_better: float = Field(gt=0, allow_inf_nan=False, description="From this difference on")

    @model_validator(mode="after")
    def _falls(self) -> "RatingGaps":
        if not self.significantly_better > self.better > self.slightly_better:
            raise ValueError("a stronger rating needs a larger difference: significantly_better > better > slightly")
        return self

    def word(self, gap: float) -> str:
        """The rating of a difference above 0."""
        for name in ("significantly_better", "better", "slightly_better"):
            if gap >= getattr(self, name):
                return name
        return "negligibly_better"


class RankOptions(Options):
    """Of formats with ranks."""

    rank_gaps: RatingGaps = Field(
        default=RatingGaps(significantly_better=3, better=2, slightly_better=1),
        description="oasst, argilla: rank difference → rating",
    )


class ScoreOptions(Options):
    """Of formats with scores."""

    score_field: str | None = Field(
        default=None,
        description="ultrafeedback (overall_score), helpsteer (helpfulness): the score; dots lead into objects",
    )
    score_gaps: RatingGaps | None = Field(
        default=None, description="ultrafeedback (4, 2, 1), helpsteer (3, 2, 1), datasets (4, 2, 1): score difference"
    )
