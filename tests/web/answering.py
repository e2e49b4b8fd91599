"""An answerer without a model, whose answers tests foresee."""

from collections.abc import Sequence

from data_store.annotation.batches import Message
from data_store.annotation.live import AnswerError, BusyError, LiveResponse, TooLongError, TooSlowError

TROUBLE = {
    "fail": AnswerError("no model"),
    "busy": BusyError("eight people in line"),
    "slow": TooSlowError("no answer in 60 seconds"),
    "long": TooLongError(300, 100),
}


class ReadyAnswerer:
    """Says how many turns it read, and what the last one was. Some words make trouble."""

    answers_prompts = True

    def __init__(self, *versions: str) -> None:
        self.versions = versions

    def attackable(self, policy_version: str) -> bool:
        """Whether it was given this version."""
        return policy_version in self.versions

    def pair(self, messages: Sequence[Message], key: str) -> tuple[LiveResponse, LiveResponse]:
        """Two responses, the same ones to the word `same`."""
        same = messages[-1]["content"] == "same"
        first, second = (self._answer(messages, "v", number * (not same)) for number in range(2))
        return first, second

    def reply(self, messages: Sequence[Message], key: str, policy_version: str) -> LiveResponse:
        """One response."""
        return self._answer(messages, policy_version, 0)

    def _answer(self, messages: Sequence[Message], version: str, number: int) -> LiveResponse:
        last = messages[-1]["content"]
        if last in TROUBLE:
            raise TROUBLE[last]
        return LiveResponse(f"{number} after {len(messages)}: {last}", version, 700, seed=5)
