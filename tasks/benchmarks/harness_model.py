"""A policy as lm-evaluation-harness asks it. A step's modules are loaded whether or not the harness is there, so it is
imported where it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.benchmarks.answering import GREEDY, Answerer, before_stops


def as_harness_model(answerer: Answerer, chat: bool) -> Any:
    """The same as the harness knows models."""
    from lm_eval.api.model import LM

    class Asked(HarnessModel, LM):  # type: ignore[misc]  # the harness has no types here
        """With what the harness asks of every model."""

    return Asked(answerer, chat)


class HarnessModel:
    """The harness is never told of a chat template: it would take the blank before a choice away. In a dialogue the
    context is the user's message, and the continuation an answer as the template writes it."""

    def __init__(self, answerer: Answerer, chat: bool) -> None:
        super().__init__()
        self._answerer, self._chat = answerer, chat

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each (context, continuation): nats, and whether it is what would be said."""
        return self._answerer.logprobs([request.args for request in requests], self._chat)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole documents: refused before anything is run (tasks/benchmarks/harness.py)."""
        raise NotImplementedError("the likelihood of whole documents is not measured here")

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts, up to the first stop; requests that are drawn alike are drawn together."""
        found: dict[int, str] = {}
        alike: dict[tuple[int, float], list[int]] = {}
        for number, request in enumerate(requests):
            alike.setdefault(self._drawn(request.args[1]), []).append(number)
        for (limit, temperature), numbers in alike.items():
            sampling = self._answerer.sampling.model_copy(update={"max_new_tokens": limit})
            answerer = replace(self._answerer, sampling=sampling)  # `cut` is the same set
            contexts = [requests[number].args[0] for number in numbers]
            drawn = answerer.texts(contexts, self._chat, 1, temperature)
            found |= {number: texts[0] for number, texts in zip(numbers, drawn, strict=True)}
        return [before_stops(found[number], _stops(request.args[1])) for number, request in enumerate(requests)]

    def _drawn(self, asked: Mapping[str, Any]) -> tuple[int, float]:
        """(most tokens, temperature) of a request."""
        limit = int(asked.get("max_gen_toks", self._answerer.sampling.max_new_tokens))
        temperature = float(asked.get("temperature", 0.0)) if asked.get("do_sample", True) else 0.0
        return limit, max(temperature, GREEDY)


def _stops(asked: Mapping[str, Any]) -> list[str]:
    stops = asked.get("until") or []
    return [stops] if isinstance(stops, str) else [stop for stop in stops if stop]
