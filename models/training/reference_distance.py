"""How far a policy is from the one that it was, by answers that the latter has drawn once."""

from collections.abc import Sequence

import torch
from torch import nn

from models.algorithms.kl import kl_k1
from models.config import DPOConfig
from models.devices import autocast, device_of
from models.dialogue import Renderer
from models.generation import ask, sample
from models.scoring import lay_out, response_logprobs
from models.seeds import derive_seed


class ReferenceDistance:
    """KL(reference || policy), from answers that the reference has drawn once: no later look needs the reference."""

    def __init__(
        self, reference: nn.Module, prompts: Sequence[list[int]], renderer: Renderer, config: DPOConfig, seed: int
    ) -> None:
        self.temperature, self.dtype = config.sampling.temperature, config.dtype
        asked = list(dict.fromkeys(map(tuple, prompts)))[: config.kl_prompts]
        with autocast(self.dtype):
            drawn = sample(
                reference,
                ask(asked, [self.temperature], derive_seed(seed, "distance")),
                config.sampling,
                end_ids=renderer.end_ids,
                pad_id=renderer.pad_id,
            )
        self.batches = []
        for start in range(0, len(asked), config.sampling.batch_size):
            rows = slice(start, start + config.sampling.batch_size)
            ids, attention, mask = lay_out(
                asked[rows], [r.ids for (r,) in drawn[rows]], renderer.pad_id, device_of(reference)
            )
            with torch.no_grad(), autocast(self.dtype):
                logprobs, _ = response_logprobs(reference, ids, attention, mask.shape[1], self.temperature)
            self.batches.append((ids, attention, mask, logprobs))

    def measure(self, model: nn.Module) -> float:
        """Nats per response: the mean of k1, summed over the reference's tokens. A small one can come out negative."""
        total = 0.0
        for ids, attention, mask, ref_logprobs in self.batches:
            with autocast(self.dtype):
                logprobs, _ = response_logprobs(model, ids, attention, mask.shape[1], self.temperature)
            total += float((kl_k1(ref_logprobs, logprobs) * mask).sum())
        return total / sum(len(ids) for ids, *_ in self.batches)
