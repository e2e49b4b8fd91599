"""A language model as judge: its config, and how its answers in both orders become one judgement.

A judge that prefers what it reads first says so in both orders; only a choice that survives the exchange counts.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from data_store.encoding import text_hash
from data_store.figures import figure
from data_store.preference_formats.options import RatingGaps
from data_store.row_import import RefusedRowError
from data_store.rows import RATINGS
from models.config import Config
from tasks.judge_guidelines import GUIDELINES, LETTERS, SAFETY_WORDS

LOG_ODDS = RatingGaps(significantly_better=4, better=2, slightly_better=0.5)
_COMPARISON = re.compile(rf"({'|'.join(LETTERS)}) ({'|'.join(RATINGS)})")
_OTHER = {"a": "b", "b": "a"}


class EndpointConfig(Config):
    """A server that speaks OpenAI's chat completions. What it is asked, and by whom, names its answers; how patiently
    does not."""

    url: str = Field(description="Base URL, such as https://api.example.org/v1")
    model: str = Field(min_length=1, description="Name of the model there")
    key_variable: str | None = Field(
        default=None, description="Environment variable that holds the key; the key itself is kept nowhere"
    )
    max_tokens: int = Field(default=16, ge=4, description="Of an answer")
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests at the same time")
    timeout_seconds: float = Field(default=60.0, gt=0, description="Of one request")
    retries: int = Field(default=5, ge=0, description="After a timeout, a lost connection, or 408, 409, 429 and 5xx")
    backoff_seconds: float = Field(default=1.0, ge=0, description="Before the first retry; doubled for each next one")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it like https://api.example.org/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password, query or fragment here: name the key's variable in key_variable")
        return url.rstrip("/")

    @property
    def asks(self) -> str:
        """A hash of everything that decides an answer: address, model, length, guidelines."""
        content = {**self.model_dump(include={"url", "model", "max_tokens"}), "guidelines": GUIDELINES}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class VerdictConfig(Config):
    """How answers become judgements."""

    disagreement: Literal["drop", "negligibly_better"] = Field(
        default="drop", description="What becomes of a pair on which the two orders disagree; it is counted either way"
    )
    log_odds: RatingGaps = Field(
        default=LOG_ODDS, description="Of a folder: the log-odds of the choice, mean of both orders → rating"
    )
    batch_size: int = Field(default=8, ge=1, description="Of a folder: rows that are read together")


class LMJudgeConfig(VerdictConfig):
    """Who judges: a chat model's folder, or an endpoint."""

    folder: Path | None = Field(default=None, description="Chat model that transformers opens (safetensors)")
    endpoint: EndpointConfig | None = Field(default=None, description="Or a server that speaks OpenAI's chat protocol")
    name: str | None = Field(default=None, description="Shown as lm:<name>; empty: the folder's or the model's name")

    @model_validator(mode="after")
    def _is_one(self) -> "LMJudgeConfig":
        if (self.folder is None) == (self.endpoint is None):
            raise ValueError("give folder or endpoint, one of them")
        return self

    @property
    def annotator(self) -> str:
        """The name that stands in every judgement."""
        given = self.name or (self.endpoint.model if self.endpoint else None) or (self.folder and self.folder.name)
        return f"lm:{given}"


class SharesConfig(Config):
    """Which share of the drawn pairs each source judges."""

    simulated: float = Field(default=0.0, ge=0, le=1, description="The simulated annotator (annotator)")
    lm: float = Field(default=0.0, ge=0, le=1, description="The language model (collect.judge)")

    @model_validator(mode="after")
    def _make_one(self) -> "SharesConfig":
        if abs(self.simulated + self.lm - 1) > 1e-9:
            raise ValueError(f"the shares must add up to 1, not to {figure(self.simulated + self.lm, 6)}")
        return self

    def pairs_of(self, source: Literal["simulated", "lm"], pair_ids: list[str]) -> frozenset[str]:
        """The pairs that a source judges: dealt out by a hash of their ids, each to one source."""
        dealt = sorted(pair_ids, key=lambda pair_id: text_hash(f"source {pair_id}"))
        cut = round(self.simulated * len(dealt))
        return frozenset(dealt[:cut] if source == "simulated" else dealt[cut:])


@dataclass(frozen=True)
class Verdict:
    """One judgement: `agreed` where both orders gave the same choice."""

    chosen: str
    rating: str
    agreed: bool


def from_log_odds(first: float, second: float, config: VerdictConfig) -> Verdict | None:
    """The judgement of a folder. `first` is log p(A) - log p(B) with a shown as A, `second` with b shown as A.

    None where the orders disagree and such pairs are dropped, or where nothing at all tells the two apart.
    """
    mean = (first - second) / 2
    if first * second < 0:
        return Verdict("a" if mean > 0 else "b", config.log_odds.word(abs(mean)), agreed=True)
    if config.disagreement == "drop" or mean == 0:
        return None
    return Verdict("a" if mean > 0 else "b", "negligibly_better", agreed=False)


def from_answers(pair: Mapping[str, Any], first: str, second: str, config: VerdictConfig) -> Verdict | None:
    """The judgement of an endpoint: `first` is its answer with a shown as A, `second` with b shown as A.

    Of two ratings the weaker counts. Where the orders disagree and such pairs are kept, which one is `chosen` is drawn
    from the responses alone: it has no margin. Raises RefusedRowError for an answer that is not as asked.
    """
    (letter, rating), (other_letter, other_rating) = map(_read_comparison, (first, second))
    chosen = "a" if letter == LETTERS[0] else "b"
    other_chosen = "b" if other_letter == LETTERS[0] else "a"
    if chosen == other_chosen:
        return Verdict(chosen, max(rating, other_rating, key=RATINGS.index), agreed=True)
    if config.disagreement == "drop":
        return None
    by_text = min("ab", key=lambda side: text_hash(pair[f"response_{side}"]))
    return Verdict(by_text, "negligibly_better", agreed=False)


def is_safe(answer: str) -> bool:
    """An endpoint's word on one response. Raises RefusedRowError for an answer that is not as asked."""
    if answer.strip() not in SAFETY_WORDS:
        raise RefusedRowError("answer_not_as_asked", f"safety: {answer.strip()[:100]!r}")
    return answer.strip() == SAFETY_WORDS[0]


def safety_label(chosen: str, safe: Mapping[str, bool]) -> str:
    """The label of a pair. Raises RefusedRowError where the chosen response is unsafe and the other safe: safer is
    taken to be better (Llama 2, section 3.1)."""
    if safe["a"] == safe["b"]:
        return "both_safe" if safe["a"] else "both_unsafe"
    if not safe[chosen] and safe[_OTHER[chosen]]:
        raise RefusedRowError("chosen_unsafe_other_safe", "the safer answer is taken to be the better one")
    return "chosen_safe_other_unsafe"


def _read_comparison(answer: str) -> tuple[str, str]:
    found = _COMPARISON.fullmatch(answer.strip())
    if found is None:
        raise RefusedRowError("answer_not_as_asked", f"comparison: {answer.strip()[:100]!r}")
    return found[1], found[2]
