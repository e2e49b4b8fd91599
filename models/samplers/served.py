"""A policy that a vLLM server answers for, with ids in and ids out."""

import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig

from models.algorithms.logprobs import token_logprobs
from models.config import SamplingConfig
from models.devices import device_of
from models.generation import Request, Response, require_room
from models.samplers.client import Client, VllmError
from models.samplers.completions import response_in
from models.seeds import derive_seed

COMPARED_TOKENS = 16
COMPARED_AT = 0.7  # not 1: a server that gives log-probabilities without the temperature is found so
BOUNDS = {"float32": 1e-3, "bfloat16": 0.15}
"""How far vLLM's log-probabilities may be from torch's of the same weights: in float32 each of them, in bfloat16 their
mean. There a single one of a thousand is rounded to half a nat from the other, and the mean is steady."""
_MOST_BYTES = (1 << 16, 1 << 10)  # of a completion: for itself, and for each token of prompt and response


@dataclass(frozen=True)
class Called:
    """What a server calls a model, how many tokens it reads of it at once, and a word by which it keeps what it has
    computed of this version apart from any other's: it knows adapters by name and path, whatever lies there."""

    name: str
    context: int
    salt: str

    @classmethod
    def now(cls, name: str, context: int) -> "Called":
        """With a word that nobody has used."""
        return cls(name, context, secrets.token_hex(16))


class ServedPolicy:
    """Answers as `models.generation.sample` does, by a server. `policy` has the same weights here, and is compared with
    it before the first answer, unless it was `compared`: a server that still has other weights says nothing of it."""

    def __init__(
        self,
        client: Client,
        called: Called,
        policy: nn.Module,
        dtype: str,
        tell: Callable[[str], None],
        *,
        compared: bool = False,
    ) -> None:
        self.policy = policy
        self._client, self._called, self._dtype, self._tell = client, called, dtype, tell
        config = cast(PreTrainedConfig, policy.config)
        self._vocabulary: int = config.vocab_size
        self._limit: int = config.max_position_embeddings
        self._compared = compared

    def sample(
        self,
        requests: Sequence[Request],
        config: SamplingConfig,
        *,
        end_ids: Sequence[int],
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> list[list[Response]]:
        """As `models.generation.sample`; `config.batch_size` requests are sent at the same time. Each response has a
        seed of its own, from its request's and its place there, so that it does not depend on what else is asked.
        Raises VllmError for a server that does not answer, answers what cannot be, or has other weights."""
        require_room(requests, self._limit)
        for i, request in enumerate(requests):
            if len(request.ids) + self._room(request, config) > self._called.context:
                raise ValueError(
                    f"prompt {i + 1} has {len(request.ids)} tokens, and with max_new_tokens {config.max_new_tokens} "
                    f"that is more than the {self._called.context} that vLLM was started for: raise its --max-model-len"
                )
        if requests and not self._compared:
            self._compare(requests[0].ids)
        wanted = [(request, k) for request in requests for k in range(len(request.temperatures))]
        stopped, done = threading.Event(), 0

        def one(request: Request, k: int) -> Response:
            if stopped.is_set():
                raise VllmError("vLLM is not asked any more")
            seed = derive_seed(request.seed, "response", k)
            return self._draw(request.ids, request.temperatures[k], seed, self._room(request, config), end_ids)

        found: list[Response] = []
        with ThreadPoolExecutor(config.batch_size) as pool:
            running = [pool.submit(one, *each) for each in wanted]
            try:
                for future in running:
                    found.append(future.result())
                    done += 1
                    on_progress(done / len(wanted))
            except BaseException:
                stopped.set()
                raise
        each = iter(found)
        return [[next(each) for _ in request.temperatures] for request in requests]

    def _room(self, request: Request, config: SamplingConfig) -> int:
        return min(config.max_new_tokens, self._limit - len(request.ids))

    def _draw(
        self, prompt: Sequence[int], temperature: float, seed: int, room: int, end_ids: Sequence[int]
    ) -> Response:
        content: dict[str, Any] = {
            "model": self._called.name,
            "prompt": list(prompt),
            "max_tokens": room,
            "temperature": temperature,
            "seed": seed,
            "logprobs": 0,
            "return_token_ids": True,
            "cache_salt": self._called.salt,
            # the whole distribution, and no other ends than ours, whatever the server takes for its defaults
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": True,
            "stop_token_ids": list(end_ids),
            "stop": [],
        }
        most = _MOST_BYTES[0] + _MOST_BYTES[1] * (len(prompt) + room)
        reply = self._client.ask("POST", "/v1/completions", content, most)
        return response_in(reply, prompt, room, end_ids, self._vocabulary)

    def _compare(self, prompt: Sequence[int]) -> None:
        """Raises VllmError where vLLM's log-probabilities are not those of `policy`."""
        room = min(COMPARED_TOKENS, self._limit - len(prompt), self._called.context - len(prompt))
        drawn = self._draw(prompt, COMPARED_AT, 0, room, ())
        ids = torch.tensor([[*prompt, *drawn.ids]], device=device_of(self.policy))
        with torch.inference_mode():
            logits = self.policy(input_ids=ids, logits_to_keep=room + 1).logits[:, :-1]
            ours = token_logprobs(logits, ids[:, len(prompt) :], COMPARED_AT)[0].tolist()
        apart = [abs(a - b) for a, b in zip(ours, drawn.logprobs, strict=True)]
        distance, bound = max(apart) if self._dtype == "float32" else fmean(apart), BOUNDS[self._dtype]
        if not distance <= bound:
            raise VllmError(
                f"vLLM's log-probabilities of {room} tokens are {distance:.2g} from torch's of the same weights, "
                f"and {bound:g} is allowed with {self._dtype}: it answers with other weights, or with another "
                "--logprobs-mode than processed_logprobs; start the server anew"
            )
        self._compared = True
        self._tell(f"vLLM's log-probabilities of {room} tokens are within {distance:.2g} of torch's")
