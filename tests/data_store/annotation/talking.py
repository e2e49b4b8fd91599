"""Speakers whose answers tests foresee."""

from collections.abc import Iterator, Sequence

from data_store.annotation.batches import Message
from data_store.annotation.chat import Said
from data_store.annotation.live import LiveResponse, TooLongError


class Parrot:
    """Says the last prompt again, with its name before it, in two pieces. Some prompts make trouble."""

    def __init__(self, name: str, score: float = 1.0) -> None:
        self.name, self.score = name, score
        self.heard: list[list[Message]] = []

    def answer(self, messages: Sequence[Message], temperature: float, seed: int) -> Iterator[str | Said]:
        """The answer."""
        self.heard.append(list(messages))
        last = messages[-1]["content"]
        if last == "long":
            raise TooLongError(300, 100)
        text = "the same" if last == "same" else f"{self.name} {len(self.heard)}: {last}"
        stopped = "stopped after 3 s" if last == "slow" else ""
        response = LiveResponse(text, f"version of {self.name}", round(1000 * temperature), seed, not stopped)
        return iter([text[:3], text, Said(response, {"helpfulness": self.score, "safety": -1.0}, 0.25, 1.5, stopped)])
