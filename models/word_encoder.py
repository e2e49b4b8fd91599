"""Texts as token ids for comparing them: word by word, each word encoded once.

The ids are the tokenizer's, but a word's are the same wherever it stands: at the beginning of a text, behind a line end
or behind several blanks. Models must not read these; two texts that are held against each other should be.
"""

from collections.abc import Sequence
from itertools import chain
from typing import cast

from transformers import PreTrainedTokenizerBase

_KEPT = 400_000  # words; more are forgotten, and encoded again when they come


class WordEncoder:
    """Encodes texts; what looks like a control token is text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, words parted by blanks of any kind."""
        words = [text.split() for text in texts]
        if len(self._known) > _KEPT:
            self._known.clear()
        unknown = list({word for each in words for word in each if word not in self._known})
        if unknown:
            spaced = [f" {word}" for word in unknown]
            ids = self._tokenizer(spaced, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            self._known.update(zip(unknown, cast(list[list[int]], ids), strict=True))
        return [list(chain.from_iterable(map(self._known.__getitem__, each))) for each in words]
