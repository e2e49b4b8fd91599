"""Plain text as token ids: whatever people or models wrote, no control token comes out of it."""

import json
from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache
from typing import cast

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

_ANCHOR = "\n"


class TextEncoder:
    """Encodes runs of text with the tokens `formatting` disabled; ordinary added tokens (`</think>`, Gemma's runs of
    line ends) are encoded as the tokenizer has them, because models were trained so.

    `marks` are those of the formatting tokens that the tokenizer does not call special. Raises ValueError where a
    tokenizer makes formatting out of letters all the same.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, formatting: Iterable[str], marks: frozenset[str]) -> None:
        self.tokenizer = _with_special(tokenizer, marks) if marks and tokenizer.is_fast else tokenizer
        names = sorted(formatting)
        controls = set(cast(list[int], tokenizer.convert_tokens_to_ids(names)))
        for name, ids in zip(names, self.encode_all(names), strict=True):
            if controls & set(ids):
                raise ValueError(f"the tokenizer makes a control token of text that says {name!r}: it cannot be used")
        (anchor, letter, anchored) = self.encode_all([_ANCHOR, "a", f"{_ANCHOR}a"])
        self._anchor_length = len(anchor)
        # SentencePiece puts a blank before the first word: of every run, or of the first one of a whole text.
        self._prefixes = anchored[: len(anchor)] == anchor and anchored[len(anchor) :] != letter
        behind_control = tokenizer(f"{names[0]}a", add_special_tokens=False)["input_ids"][1:]
        self._prefixes_every_run = behind_control == letter
        self.encode = lru_cache(maxsize=100_000)(self._encode)

    def goes_on(self, *, behind_control: bool) -> bool:
        """Whether a run that is not the first of a text must be encoded without the tokenizer's own first blank: behind
        other text always, behind a control token where the tokenizer does so."""
        return self._prefixes and not (behind_control and self._prefixes_every_run)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        found = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return cast(list[list[int]], found)

    def _encode(self, text: str, goes_on: bool) -> tuple[int, ...]:
        (ids,) = self.encode_all([_ANCHOR + text if goes_on else text])
        return tuple(ids[self._anchor_length :] if goes_on else ids)


def _with_special(tokenizer: PreTrainedTokenizerBase, marks: frozenset[str]) -> PreTrainedTokenizerBase:
    """The same tokenizer with these tokens special, so that they can be kept out of text; the given one stays as it
    is, for it goes into checkpoints."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] |= token["content"] in marks
    found = copy(tokenizer)
    found._tokenizer = Tokenizer.from_str(json.dumps(content))
    return found
