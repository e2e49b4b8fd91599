"""How foreign preference data is read: what counts as a judgement, and how a difference becomes a rating word."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PREFERENCE_FORMATS = (
    "hh",
    "rows",
    "datasets",
    "oasst",
    "ultrafeedback",
    "helpsteer",
    "argilla",
    "label_studio",
)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RatingGaps(_Options):
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


RANKS = RatingGaps(significantly_better=3, better=2, slightly_better=1)
SCORES_OF_TEN = RatingGaps(significantly_better=4, better=2, slightly_better=1)
SCORES_OF_FIVE = RatingGaps(significantly_better=3, better=2, slightly_better=1)


class ArgillaFields(_Options):
    """What things are called in an Argilla data set."""

    prompt: str = Field(default="prompt", description="Field with the prompt: text, or a chat")
    question: str = Field(default="preference", description="Ranking question over the fields with the responses")


class LabelStudioFields(_Options):
    """What things are called in the data of a Label Studio task."""

    prompt: str = Field(default="prompt", description="Text, or a list of messages with role and content")
    left: str = Field(default="response_a", description="Field shown on the left")
    right: str = Field(default="response_b", description="Field shown on the right")


class PreferenceOptions(_Options):
    """What the formats leave open. Each format reads its own."""

    languages: tuple[str, ...] = Field(default=(), description="oasst: languages to keep, such as en; empty: all")
    synthetic: Literal["refuse", "keep"] = Field(default="refuse", description="oasst: messages that a model wrote")
    unreviewed: Literal["refuse", "keep"] = Field(default="refuse", description="oasst: messages without a review")
    rank_gaps: RatingGaps = Field(default=RANKS, description="oasst, argilla: rank difference → rating")
    score_field: str | None = Field(
        default=None,
        description="ultrafeedback (overall_score), helpsteer (helpfulness): the score; dots lead into objects",
    )
    score_gaps: RatingGaps | None = Field(
        default=None, description="ultrafeedback (4, 2, 1), helpsteer (3, 2, 1), datasets (4, 2, 1): score difference"
    )
    argilla: ArgillaFields = Field(default=ArgillaFields(), description="Names in an export of Argilla")
    label_studio: LabelStudioFields = Field(
        default=LabelStudioFields(), description="Names in an export of Label Studio"
    )
