"""What is held out, decided once: by the text of a prompt, so that no row of it stands on both sides.

Ids do not do: a prompt that comes twice has two of them, and is the same to a model. Case, spacing and the ways in
which Unicode writes one character do not make another text. Each use has a draw of its own (`of`): held out for
evaluation says nothing of which pairs test the reward models.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rows = list[dict[str, Any]]


def plain(messages: Sequence[Mapping[str, str]]) -> str:
    """A dialogue but for case, spacing and the form of its characters."""
    return "\x1e".join(
        f"{message['role']}\x1f{' '.join(unicodedata.normalize('NFKC', message['content']).casefold().split())}"
        for message in messages
    )


def is_held_out(messages: Sequence[Mapping[str, str]], percent: int, of: str) -> bool:
    """Whether a prompt belongs to the `percent` of all prompts that are kept from training. What a smaller share holds,
    a larger one holds, too."""
    digest = hashlib.sha256(f"{of}\x1d{plain(messages)}".encode()).hexdigest()
    return int(digest[:8], 16) % 100 < percent


def texts(prompts: Iterable[Mapping[str, Any]], split: str = "heldout") -> frozenset[str]:
    """The plain texts of the prompts of a split."""
    return frozenset(plain(row["messages"]) for row in prompts if row["split"] == split)


def begins_with(messages: Sequence[Mapping[str, str]], held_out: frozenset[str]) -> bool:
    """Whether some answer of a dialogue stands behind a prompt that is held out."""
    return any(
        message["role"] == "assistant" and plain(messages[:place]) in held_out for place, message in enumerate(messages)
    )


def apart(rows: Iterable[dict[str, Any]]) -> tuple[Rows, Rows]:
    """Pairs to learn from, and pairs to test on. A text that any pair holds out is learned from in none: batches of
    several iterations can have been split by different shares."""
    by_split: dict[str, Rows] = {"train": [], "heldout": []}
    for row in rows:
        by_split.setdefault(row["split"], []).append(row)
    tested = by_split["heldout"]
    held_out = texts(tested)
    return [row for row in by_split["train"] if plain(row["messages"]) not in held_out], tested
