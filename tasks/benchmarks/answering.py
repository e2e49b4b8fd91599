"""Answers of a policy to benchmarks: which choice is the likeliest, and texts that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.config import SamplingConfig
from models.seeds import derive_seed
from tasks.sampling import draw

if TYPE_CHECKING:
    from models.continuations import Continuation
    from models.generation import Response

GREEDY = 1e-4
"""A temperature at which the likeliest token is drawn."""


@dataclass(frozen=True)
class Answerer:
    """A policy that answers, with what it renders by."""

    policy: Any
    renderer: Any
    sampling: SamplingConfig
    seed: int

    def logprobs(self, pairs: Sequence[tuple[str, str]], chat: bool) -> list[tuple[float, bool]]:
        """Of each (context, continuation) its log-probability in nats, and whether it is what would be said."""
        from models.continuations import continuation_logprobs, of_answer, of_text
        from models.devices import use_threads
        from models.shards import map_shards

        use_threads(self.sampling.threads)
        make = of_answer if chat else of_text
        rows = [make(self.renderer, context, continuation) for context, continuation in pairs]

        def part(mine: "Sequence[Continuation]", _: int) -> list[tuple[float, bool]]:
            return continuation_logprobs(self.policy, mine, self.renderer.pad_id, self.sampling.batch_size)

        return map_shards(part, rows, self.sampling.shards)

    def texts(self, contexts: Sequence[str], chat: bool, samples: int, temperature: float) -> list[list[str]]:
        """`samples` texts for each context: answers to a user's message, or what goes on with the text."""
        if chat:
            dialogues = [[{"role": "user", "content": context}] for context in contexts]
            drawn = draw(
                self.policy,
                self.renderer,
                dialogues,
                self.sampling,
                temperature=temperature,
                num_samples=samples,
                seed=self.seed,
            )
            return [[answer.text for answer in answers] for answers in drawn]
        return self._continued(contexts, samples, temperature)

    def _continued(self, contexts: Sequence[str], samples: int, temperature: float) -> list[list[str]]:
        from models.devices import use_threads
        from models.generation import sample
        from models.shards import map_shards
        from models.tokenizer import decode

        use_threads(self.sampling.threads)
        tokenizer, at = self.renderer.tokenizer, self.sampling.model_copy(update={"temperature": temperature})
        bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        prompts = [[*bos, *ids] for ids in self.renderer.text.encode_all(list(contexts))]

        def part(rows: Sequence[list[int]], shard: int) -> "list[list[Response]]":
            ends, pad, seed = self.renderer.end_ids, self.renderer.pad_id, derive_seed(self.seed, "shard", shard)
            return sample(self.policy, rows, at, num_samples=samples, end_ids=ends, pad_id=pad, seed=seed)

        unsaid = {*self.renderer.end_ids, *tokenizer.all_special_ids}
        return [
            [decode(tokenizer, [token for token in response.ids if token not in unsaid]) for response in responses]
            for responses in map_shards(part, prompts, self.sampling.shards)
        ]
