"""What is no text: tables of numbers, encoded blobs, one sign or word over and over."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from data_store.corpus.filter import DocumentFilter, SampleConfig

_RUN_SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789ㅋㅎㅠㅜ"


class GarbageConfig(SampleConfig):
    """Shares of signs and words."""

    min_letter_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Smallest share of letters among what is not white space (code: half). "
        "Fewer than 20 other signs drop nothing; ruled lines do not count.",
    )
    max_symbol_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Largest share of signs that are neither letter, digit nor punctuation (code: twice). "
        "Fewer than 10 drop nothing; ruled lines do not count.",
    )
    max_mean_word_length: float = Field(
        default=30, gt=0, description="Largest mean length of the words, in characters: beyond it are encoded blobs."
    )
    max_character_run: int = Field(
        default=25, ge=2, le=1000, description="Longest run of one and the same letter or digit."
    )
    max_word_share: float = Field(
        default=0.4, gt=0, le=1, description="Largest share of one word, in documents of 40 words and more."
    )


class Garbage(DocumentFilter):
    """Five sorts; the detail says which."""

    reasons = {"garbage": "few letters, many symbols, one character or word over and over, unbroken strings"}
    of_sample = {
        "symbols": "length(regexp_replace(sample, $no_symbol, '', 'g'))",
        "has_run": "regexp_matches(lower(sample), $run)",
    }
    of_words = {"top_word": "max(n)", "word_characters": "sum(n * length(word))"}
    rules = (
        (
            "garbage",
            "letters < CASE WHEN is_code THEN 0.5 ELSE 1 END * $min_letter_share * seen AND visible - letters >= 20",
            "format('letters {:.2f}', letters / seen)",
        ),
        (
            "garbage",
            "symbols > CASE WHEN is_code THEN 2 ELSE 1 END * $max_symbol_share * seen AND symbols >= 10",
            "format('symbols {:.2f}', symbols / seen)",
        ),
        (
            "garbage",
            "word_characters > $max_mean_word_length * said",
            "format('mean word length {:.1f}', word_characters / said)",
        ),
        ("garbage", "has_run", "'one character over and over'"),
        (
            "garbage",
            "n_words >= 40 AND top_word > $max_word_share * said",
            "format('one word is {:.2f} of all', top_word / said)",
        ),
    )

    def parameters(self, config: GarbageConfig) -> Mapping[str, Any]:
        """Expressions for symbols and runs."""
        return {
            "no_symbol": r"[\p{L}\p{M}\p{N}\s.,;:!?'\"()\-–—‘’“”…·、。「」]+",
            "run": "|".join(f"{sign}{{{config.max_character_run + 1},}}" for sign in _RUN_SIGNS),
        }
