"""A server that speaks OpenAI's chat completions judges, each pair in both orders. It was asked before the step
(tasks/incoming/asked.py): its answers are a source."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.reading.bad_rows import RefusedRowError
from data_store.rows import RATINGS
from models.config import Config
from models.samplers.config import plain_address
from tasks.engine.step import Input, StepRun
from tasks.judging.guidelines import GUIDELINES, LETTERS, SAFETY_WORDS, comparison, response_in, safety_by_word
from tasks.judging.judge import Judging, ModelJudge, Need, Rows
from tasks.judging.lm import LMStepConfig, lm_step_config
from tasks.judging.verdicts import ModelVerdict, PairRow, Ruling, VerdictConfig, ruling

_COMPARISON = re.compile(rf"({'|'.join(LETTERS)}) ({'|'.join(RATINGS)})")


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
        return plain_address(url)

    @property
    def asks(self) -> str:
        """A hash of everything that decides an answer: address, model, length, guidelines."""
        content = {**self.model_dump(include={"url", "model", "max_tokens"}), "guidelines": GUIDELINES}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @staticmethod
    def questions(pair: PairRow) -> dict[str, str]:
        """What is asked about one pair, by name: both orders, and on the axis of safety each response."""
        messages, a, b = pair["messages"], response_in(pair, "a"), response_in(pair, "b")
        asked = {
            "a_first": comparison(pair["axis"], messages, a, b, rated=True),
            "b_first": comparison(pair["axis"], messages, b, a, rated=True),
        }
        if pair["axis"] == "safety":
            asked |= {f"safety_{side}": safety_by_word(messages, response_in(pair, side)) for side in "ab"}
        return asked


def key_of(config: EndpointConfig, section: str) -> str | None:
    """The endpoint's key, None where it needs none. `section` names the endpoint in the config. Raises InputError where
    the environment has no key under the name that the config gives."""
    if config.key_variable is None:
        return None
    key = os.environ.get(config.key_variable, "").strip()
    if not key:
        raise InputError(
            f"{section}.key_variable: the environment has no {config.key_variable}; "
            f"export {config.key_variable}=… before the run"
        )
    return key


class EndpointChoice(Config):
    """Which server."""

    endpoint: EndpointConfig | None = Field(default=None, description="Or a server that speaks OpenAI's chat protocol")


class Endpoint(ModelJudge):
    """By its answers to questions."""

    key = "endpoint"
    inputs = {"answers": Input("dataset", "answer", optional=True)}

    def name(self, model: EndpointChoice) -> str:
        """The model's."""
        return "" if model.endpoint is None else model.endpoint.model

    def needs(self, judging: Judging) -> Mapping[str, Need]:
        """Its answers."""
        return {"answers": judging.model.endpoint}

    def step_config(self, judging: Judging) -> LMStepConfig:
        """With what it is asked."""
        return lm_step_config(judging, asks=judging.model.endpoint.asks)

    def verdicts(self, run: StepRun, config: LMStepConfig, pairs: Rows) -> dict[str, Ruling]:
        """A pair with a question that it did not answer as asked is refused."""
        answers = {(row["pair_id"], row["question"]): row for row in run.records("answers")}
        found: dict[str, Ruling] = {}
        for pair in pairs:
            given = {name: answers[pair["pair_id"], name] for name in EndpointConfig.questions(pair)}
            try:
                for name, row in given.items():
                    if row["refused"] is not None:
                        raise RefusedRowError(row["refused"], f"question {name}")
                texts = {name: row["answer"] for name, row in given.items()}
                verdict = from_answers(pair, texts["a_first"], texts["b_first"], config)
                safe = {side: is_safe(texts[f"safety_{side}"]) for side in "ab" if f"safety_{side}" in texts}
                found[pair["pair_id"]] = ruling(verdict, safe)
            except RefusedRowError as refusal:
                found[pair["pair_id"]] = refusal
        return found


def from_answers(pair: Mapping[str, Any], first: str, second: str, config: VerdictConfig) -> ModelVerdict | None:
    """The judgement of an endpoint: `first` is its answer with a shown as A, `second` with b shown as A.

    Of two ratings the weaker counts. Where the orders disagree and such pairs are kept, which one is `chosen` is drawn
    from the responses alone: it has no margin. Raises RefusedRowError for an answer that is not as asked.
    """
    (letter, rating), (other_letter, other_rating) = map(_read_comparison, (first, second))
    chosen = "a" if letter == LETTERS[0] else "b"
    other_chosen = "b" if other_letter == LETTERS[0] else "a"
    if chosen == other_chosen:
        return ModelVerdict(chosen, max(rating, other_rating, key=RATINGS.index), agreed=True)
    if config.disagreement == "drop":
        return None
    by_text = min("ab", key=lambda side: text_hash(pair[f"response_{side}"]))
    return ModelVerdict(by_text, "negligibly_better", agreed=False)


def is_safe(answer: str) -> bool:
    """An endpoint's word on one response. Raises RefusedRowError for an answer that is not as asked."""
    if answer.strip() not in SAFETY_WORDS:
        raise RefusedRowError("answer_not_as_asked", f"safety: {answer.strip()[:100]!r}")
    return answer.strip() == SAFETY_WORDS[0]


def _read_comparison(answer: str) -> tuple[str, str]:
    found = _COMPARISON.fullmatch(answer.strip())
    if found is None:
        raise RefusedRowError("answer_not_as_asked", f"comparison: {answer.strip()[:100]!r}")
    return found[1], found[2]
