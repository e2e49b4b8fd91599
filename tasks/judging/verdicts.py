"""One judgement of a pair by a model, and what is refused.

A judge that prefers what it reads first says so in both orders; only a choice that survives the exchange counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from data_store.reading.bad_rows import RefusedRowError
from models.config import Config

ORDERS_DISAGREE = "orders_disagree"
_OTHER = {"a": "b", "b": "a"}

PairRow = Mapping[str, Any]


class VerdictConfig(Config):
    """How answers become judgements."""

    disagreement: Literal["drop", "negligibly_better"] = Field(
        default="drop", description="What becomes of a pair on which the two orders disagree; it is counted either way"
    )


@dataclass(frozen=True)
class ModelVerdict:
    """One judgement: `agreed` where both orders gave the same choice."""

    chosen: str
    rating: str
    agreed: bool


Ruling = tuple[ModelVerdict, str | None] | RefusedRowError
"""What becomes of a pair: the verdict with its safety label, or why there is none."""


def ruling(verdict: ModelVerdict | None, safe: Mapping[str, bool]) -> tuple[ModelVerdict, str | None]:
    """The verdict with the label of a pair whose responses are `safe` or not; without any it has no label. Raises
    RefusedRowError where the orders disagree, or the label is one that is left out."""
    if verdict is None:
        raise RefusedRowError(ORDERS_DISAGREE, "the choice changed with the order of the responses")
    return verdict, safety_label(verdict.chosen, safe) if safe else None


def safety_label(chosen: str, safe: Mapping[str, bool]) -> str:
    """The label of a pair. Raises RefusedRowError where the chosen response is unsafe and the other safe: safer is
    taken to be better (Llama 2, section 3.1)."""
    if safe["a"] == safe["b"]:
        return "both_safe" if safe["a"] else "both_unsafe"
    if not safe[chosen] and safe[_OTHER[chosen]]:
        raise RefusedRowError("chosen_unsafe_other_safe", "the safer answer is taken to be the better one")
    return "chosen_safe_other_unsafe"
