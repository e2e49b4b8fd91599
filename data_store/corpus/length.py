"""Documents that are too short or too long."""

from pydantic import Field

from data_store.corpus.filter import DocumentFilter, SampleConfig


class LengthConfig(SampleConfig):
    """Words and characters."""

    min_words: int = Field(default=5, ge=0, description="Fewest words of a document.")
    max_characters: int = Field(default=1_000_000, gt=0, description="Most characters of a document.")


class Length(DocumentFilter):
    """The bounds themselves are kept."""

    reasons = {"too_short": "too few words", "too_long": "too many characters"}
    rules = (
        ("too_short", "n_words < $min_words", "format('{} words', n_words)"),
        ("too_long", "characters > $max_characters", "format('{} characters', characters)"),
    )
