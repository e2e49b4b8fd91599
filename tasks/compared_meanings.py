"""Which rows mean the same as one that stays, told by a sentence encoder.

A row stands for what is asked: the texts of a prompt, or of a demonstration before its last answer, without the system
message. Two are the same only where role, axis, kind and system message are alike; nothing trains on what is held out,
whatever its axis.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_store.figures import figure
from models.algorithms.distinct import Distinct, Near
from tasks.similar import SIMILAR, TO_HELD_OUT

if TYPE_CHECKING:
    import torch

    from models.sentence_encoder import SentenceEncoder

IDENTITY = {"prompts": "prompt_id", "demonstrations": "dialogue_id"}
"""Role → the column that names its rows."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Drop:
    """Why a row goes: the reason, the row that stays, and the cosine of the two."""

    reason: str
    partner: str
    cosine: float

    @property
    def detail(self) -> str:
        """In the row of kind dropped."""
        return f"cosine {figure(self.cosine)} with {self.partner}"


class _Kept:
    """Vectors that stay, and the names of the rows that they are of."""

    def __init__(self, threshold: float) -> None:
        self.vectors, self.names = Distinct(threshold), list[str]()

    def drop(self, near: Near, reason: str) -> Drop:
        return Drop(reason, self.names[near.place], near.cosine)


class Comparison:
    """Rows as they come, held-out prompts first; `drops` has those that go, by name."""

    def __init__(self, encoder: "SentenceEncoder", threshold: float) -> None:
        self._encoder, self._threshold = encoder, threshold
        self._held_out = _Kept(threshold)
        self._kept = dict[tuple[str, ...], _Kept]()
        self.drops = dict[str, Drop]()

    def add(self, role: str, rows: Sequence[Row]) -> None:
        """Some rows of one split, in their order: of those that are close to one another the first stays, and none
        that is close to a held-out prompt."""
        names = [name_of(role, row) for row in rows]
        vectors, owners, own = self._read(rows)
        is_held_out = any(row.get("split") == "heldout" for row in rows)
        if not is_held_out:
            self._drop_leaks(names, vectors, owners)
        groups = dict[tuple[str, ...], list[int]]()
        for place in own:
            if names[place] not in self.drops:
                groups.setdefault(_group(role, rows[place]), []).append(place)
        for key, places in groups.items():
            kept = self._kept.setdefault(key, _Kept(self._threshold))
            found = kept.vectors.add(vectors[[own[place] for place in places]])
            stay = [place for place, near in zip(places, found, strict=True) if near is None]
            kept.names += [names[place] for place in stay]
            self.drops |= {
                names[place]: kept.drop(near, SIMILAR)
                for place, near in zip(places, found, strict=True)
                if near is not None
            }
            if is_held_out:
                self._held_out.vectors.keep(vectors[[own[place] for place in stay]])
                self._held_out.names += [names[place] for place in stay]

    def _read(self, rows: Sequence[Row]) -> tuple["torch.Tensor", list[int], dict[int, int]]:
        """The vectors of all that is asked in some rows and that the encoder can read whole, the row of each, and by
        row the vector of what it asks last."""
        asked = [(place, text) for place, row in enumerate(rows) for text in asked_in(row)]
        ids = self._encoder.encode([text for _, text in asked])
        last = {place: number for number, (place, _) in enumerate(asked)}  # of each row the last one wins
        fits = [number for number, each in enumerate(ids) if len(each) <= self._encoder.most_tokens]
        of = {number: vector for vector, number in enumerate(fits)}
        own = {place: of[number] for place, number in last.items() if number in of}
        return self._encoder.embed([ids[number] for number in fits]), [asked[number][0] for number in fits], own

    def _drop_leaks(self, names: Sequence[str], vectors: "torch.Tensor", owners: Sequence[int]) -> None:
        for place, near in zip(owners, self._held_out.vectors.nearest(vectors), strict=True):
            if near is not None:
                drop, known = self._held_out.drop(near, TO_HELD_OUT), self.drops.get(names[place])
                if known is None or drop.cosine > known.cosine:
                    self.drops[names[place]] = drop


def name_of(role: str, row: Row) -> str:
    """How a row is named where rows of several roles are."""
    return f"{role}/{row[IDENTITY[role]]}"


def asked_in(row: Row) -> list[str]:
    """All that is asked in a prompt or a demonstration, the dialogue before it included; what it ends with comes
    last."""
    messages = row["messages"]
    ends = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if messages[-1]["role"] == "user":
        ends = [len(messages)]
    asked = ("\n".join(_said(messages[:end])) for end in ends)
    return [text for text in asked if text.strip()]


def _said(messages: Sequence[Mapping[str, str]]) -> Iterator[str]:
    return (message["content"] for message in messages if message["role"] != "system")


def _group(role: str, row: Row) -> tuple[str, ...]:
    system = "\n".join(message["content"] for message in row["messages"] if message["role"] == "system")
    return role, str(row.get("axis", "")), str(row["kind"]), system
