"""Answers of a policy to benchmarks: which choice is the likeliest, and texts that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_store.errors import InputError
from models.config import SamplingConfig
from tasks.sampling import draw

if TYPE_CHECKING:
    from models.continuations import Continuation
    from models.generation import Request, Response

GREEDY = 1e-4
"""A temperature at which the likeliest token is drawn."""


def before_stops(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of some stops."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


@dataclass(frozen=True)
class Answerer:
    """A policy that answers, with what it renders by. `cut` fills with the contexts that it could not read whole."""

    policy: Any
    renderer: Any
    sampling: SamplingConfig
    seed: int
    cut: set[str] = field(default_factory=set)

    def logprobs(self, pairs: Sequence[tuple[str, str]], chat: bool) -> list[tuple[float, bool]]:
        """Of each (context, continuation) its log-probability in nats, and whether it is what would be said.

        Raises InputError for a continuation that is empty, or longer than the policy's context.
        """
        from models.continuations import context_length, continuation_logprobs, of_answer, of_text
        from models.devices import use_threads
        from models.shards import map_shards

        use_threads(self.sampling.threads)
        make = of_answer if chat else of_text
        limit, rows = context_length(self.policy), []
        for context, continuation in pairs:
            try:
                row = make(self.renderer, context, continuation)
            except ValueError as error:
                raise InputError(f"{error}; it answers {context[-60:]!r}. Leave the item out") from None
            if len(row.ids) >= limit:
                count = f"has {len(row.ids)} tokens, and the policy's context holds {limit}"
                raise InputError(f"a choice {count}: {continuation[:60]!r}. Leave the item out")
            if len(row.before) + len(row.ids) > limit:
                self.cut.add(context)
            rows.append(row)

        def part(mine: "Sequence[Continuation]", _: int) -> list[tuple[float, bool]]:
            return continuation_logprobs(self.policy, mine, self.renderer.pad_id, self.sampling.batch_size)

        return map_shards(part, rows, self.sampling.shards)

    def texts(self, contexts: Sequence[str], chat: bool, samples: int, temperature: float) -> list[list[str]]:
        """`samples` texts for each context: answers to a user's message, or what goes on with the text. A message that
        the policy's context does not hold is answered by nothing; a text loses its beginning."""
        return (self._answered if chat else self._continued)(contexts, samples, temperature)

    def _answered(self, contexts: Sequence[str], samples: int, temperature: float) -> list[list[str]]:
        from models.continuations import context_length

        limit = context_length(self.policy)
        dialogues = {context: [{"role": "user", "content": context}] for context in contexts}
        self.cut.update(context for context, said in dialogues.items() if len(self.renderer.prompt(said)) >= limit)
        read = [number for number, context in enumerate(contexts) if context not in self.cut]
        drawn = draw(
            self.policy,
            self.renderer,
            [dialogues[contexts[number]] for number in read],
            self.sampling,
            temperatures=[temperature] * samples,
            seed=self.seed,
        )
        found = {number: [each.text for each in answers] for number, answers in zip(read, drawn, strict=True)}
        return [found.get(number, [""] * samples) for number in range(len(contexts))]

    def _continued(self, contexts: Sequence[str], samples: int, temperature: float) -> list[list[str]]:
        from models.continuations import context_length
        from models.devices import use_threads
        from models.generation import ask, sample
        from models.shards import map_shards
        from models.tokenizer import decode

        use_threads(self.sampling.threads)
        tokenizer = self.renderer.tokenizer
        bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        limit = context_length(self.policy)
        room = max(limit - self.sampling.max_new_tokens, limit // 2) - len(bos)  # half of the context is read at least
        whole = self.renderer.text.encode_all(list(contexts))
        self.cut.update(context for context, ids in zip(contexts, whole, strict=True) if len(ids) > room)
        prompts = [[*bos, *ids[-room:]] for ids in whole]

        def part(mine: "Sequence[Request]", _: int) -> "list[list[Response]]":
            ends, pad = self.renderer.end_ids, self.renderer.pad_id
            return sample(self.policy, mine, self.sampling, end_ids=ends, pad_id=pad)

        unsaid = {*self.renderer.end_ids, *tokenizer.all_special_ids}
        return [
            [decode(tokenizer, [token for token in response.ids if token not in unsaid]) for response in responses]
            for responses in map_shards(part, ask(prompts, [temperature] * samples, self.seed), self.sampling.shards)
        ]
