"""What is no text: tables of numbers, encoded blobs, one sign or word over and over."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from data_store.corpus.batch import Batch
from data_store.corpus.filter import DocumentFilter, Rule, SampleConfig
from data_store.corpus.words import at_most, most_frequent


class GarbageConfig(SampleConfig):
    """Shares of signs and words."""

    min_letter_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Smallest share of letters among what is not white space (code: half). "
        "Fewer than 20 other signs drop nothing; a row of one sign counts once.",
    )
    max_symbol_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Largest share of signs that are neither letter, digit nor punctuation (code: three times that). "
        "Fewer than 10 drop nothing; a row of one sign counts once.",
    )
    max_mean_word_length: float = Field(
        default=30, gt=0, description="Largest mean length of the words, in characters: beyond it are encoded blobs."
    )
    max_character_run: int = Field(
        default=25,
        ge=2,
        description="Longest run of one and the same letter or digit; less than a tenth of the letters drops nothing.",
    )
    max_word_share: float = Field(
        default=0.4, gt=0, le=1, description="Largest share of one word, in documents of 40 words and more."
    )


class Garbage(DocumentFilter):
    """Five sorts; the detail says which."""

    reasons = {"garbage": "few letters, many symbols, one character or word over and over, unbroken strings"}

    def rules(self, batch: Batch, config: GarbageConfig) -> Iterator[Rule]:
        """By signs, then by words."""
        letters, symbols, seen = batch.letters, batch.symbols, batch.seen
        least = config.min_letter_share * np.where(batch.is_code, 0.5, 1) * seen
        yield Rule(
            "garbage",
            (letters < least) & (seen - letters >= 20),
            lambda i: f"letters {letters[i] / seen[i]:.2f}",
        )
        most = config.max_symbol_share * np.where(batch.is_code, 3, 1) * seen
        yield Rule("garbage", (symbols > most) & (symbols >= 10), lambda i: f"symbols {symbols[i] / seen[i]:.2f}")
        words, counts = batch.words, np.diff(batch.words.bounds)
        total = np.concatenate(([0], np.cumsum(words.lengths)))[words.bounds]
        mean = np.diff(total) / batch.said
        yield Rule("garbage", mean > config.max_mean_word_length, lambda i: f"mean word length {mean[i]:.1f}")
        run = batch.longest_run
        much = (run > config.max_character_run) & (10 * run >= letters)
        yield Rule("garbage", much, lambda i: f"one character {run[i]} times in a row")
        top = np.zeros(len(batch))
        for index in np.flatnonzero(counts >= 40).tolist():
            hashes = words.hashes[words.of(index)]
            if at_most(hashes) > config.max_word_share * counts[index]:
                top[index] = most_frequent(hashes)[1] / counts[index]
        yield Rule("garbage", top > config.max_word_share, lambda i: f"one word is {top[i]:.2f} of all")
