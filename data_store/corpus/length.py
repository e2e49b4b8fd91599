"""Documents that are too short or too long."""

from collections.abc import Iterator

from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig


class LengthConfig(SampleConfig):
    """Words and characters."""

    min_words: int = Field(
        default=5,
        ge=0,
        description="Fewest words of a document; a Han sign or kana is a word, two syllables of Hangul are one, and so "
        "is a number or a Latin name that is written onto them.",
    )
    max_characters: int = Field(default=1_000_000, gt=0, description="Most characters of a document.")


class Length(DocumentFilter):
    """The bounds themselves are kept. What is too long is neither mended nor looked at (`filtering.py`)."""

    reasons = {"too_short": "too few words", "too_long": "too many characters"}

    def rules(self, batch: Batch, config: LengthConfig) -> Iterator[Rule]:
        """By words."""
        yield Rule("too_long", batch.characters > config.max_characters, lambda i: f"{batch.characters[i]} characters")
        yield Rule("too_short", batch.n_words < config.min_words, lambda i: f"{batch.n_words[i]} words")
