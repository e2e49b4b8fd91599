"""A book with a clock that tests turn, its people, and pairs to judge."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_store.annotation.batches import BatchSpec, ItemDraft, open_batch
from data_store.annotation.book import Book
from data_store.annotation.judging import Shown, Verdict, judge, next_item
from data_store.annotation.people import add_annotator

START = 1_800_000_000.0


def pair(number: int, axis: str = "helpfulness", **changes: Any) -> ItemDraft:
    """The pair `p<number>`."""
    values: dict[str, Any] = {
        "key": f"p{number}",
        "prompt_id": f"prompt-{number}",
        "axis": axis,
        "messages": [{"role": "user", "content": f"question {number}"}],
        "response_a": f"answer A of {number}",
        "response_b": f"answer B of {number}",
        "policy_version_a": "new",
        "policy_version_b": "old",
        "temperature_milli_a": 700,
        "temperature_milli_b": 1000,
    }
    return ItemDraft(**{**values, **changes})


@dataclass
class Desk:
    """A book at work on one batch."""

    book: Book
    time: list[float]
    tokens: dict[str, str] = field(default_factory=dict)

    def add(self, *names: str, adjudicator: bool = False) -> None:
        """Enter people."""
        for name in names:
            self.tokens[name] = add_annotator(self.book, name, adjudicator=adjudicator)

    def open(self, *items: ItemDraft, **changes: Any) -> BatchSpec:
        """Open the batch `v1`; its quota is all pairs."""
        ordinary = sum(item.known_choice is None for item in items)
        values: dict[str, Any] = {"batch_id": "v1", "part": "V1", "source": "test", "quota": max(1, ordinary)}
        spec = BatchSpec(**{**values, **changes})
        open_batch(self.book, spec, items)
        return spec

    def next(self, name: str) -> Shown:
        """The next pair of a person, which must be there."""
        shown = next_item(self.book, "v1", name)
        assert shown is not None
        return shown

    def judge(self, name: str, chosen: str = "a", rating: str = "better", label: str | None = None) -> int:
        """Judge the next pair; gives its item."""
        shown = self.next(name)
        label = label or ("both_safe" if shown.item.axis == "safety" else None)
        judge(self.book, name, shown.form_key, Verdict(chosen, rating, label))
        return shown.item.item_id


def new_desk(folder: Path) -> Desk:
    """An empty book at START."""
    time = [START]
    return Desk(Book.open(folder, lambda: time[0]), time)
