"""Policies that answer while somebody waits: what the page knows of them, whoever runs the models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from data_store.annotation.batches import Message


@dataclass(frozen=True)
class LiveResponse:
    """A response that a model has just given, with all that it takes to draw it again: the version of the policy, the
    temperature and the seed. finished: the model ended it by itself. token_ids: what it said, as ids of `tokenizer`.
    """

    text: str
    policy_version: str
    temperature_milli: int
    seed: int
    finished: bool = True
    token_ids: Sequence[int] | None = None
    tokenizer: str | None = None


class AnswerError(RuntimeError):
    """There is no response now; nothing is wrong with the prompt."""


class BusyError(AnswerError):
    """Too many people are waiting already, or the model is still being loaded."""


class TooSlowError(AnswerError):
    """The response took longer than it may."""


class TooLongError(ValueError):
    """The dialogue leaves no room for a response: it has `tokens` tokens, and `limit` fit."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the dialogue has {tokens} tokens; {limit} fit")
        self.tokens, self.limit = tokens, limit


class Answerer(Protocol):
    """Gives responses to dialogues that end with a user turn. May be asked by many threads at once.

    `key` names the request: the same key, dialogue and policy give the same seed, and so the same response. Raises
    TooLongError, and AnswerError where there is no response now.
    """

    @property
    def answers_prompts(self) -> bool:
        """Whether there are variants whose responses are compared."""

    def attackable(self, policy_version: str) -> bool:
        """Whether this version can be asked alone."""

    def pair(self, messages: Sequence[Message], key: str) -> tuple[LiveResponse, LiveResponse]:
        """One response of each variant."""

    def reply(self, messages: Sequence[Message], key: str, policy_version: str) -> LiveResponse:
        """The response of one version."""
