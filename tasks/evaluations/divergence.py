"""How far the policy has gone from SFT (Llama 2, section 3.2.3)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_store.estimate import Estimate
from tasks.answers import Drawn
from tasks.engine.step import Input
from tasks.estimates import mean_of
from tasks.evaluations.evaluation import AnsweringConfig, Evaluation, Measure, Rows, Subject


class Divergence(Evaluation):
    """KL of whole responses."""

    inputs = {"reference": Input("model")}

    def metrics(self, config: AnsweringConfig) -> Iterable[Measure]:
        """Over all prompts."""
        yield Measure("kl_to_sft", "Nats per response between this policy and SFT", "KL", first=True)

    def measure(self, of: Subject, config: AnsweringConfig) -> Mapping[str, Estimate]:
        """At the sampling temperature."""
        from models.checkpoint import load_policy

        reference = load_policy(of.run.path("reference"), of.base, dtype=config.sampling.dtype)
        shards = config.sampling.shards
        kl = response_kl(of.policy, reference, of.renderer, of.prompts, of.answers, config.temperature, shards)
        return {"kl_to_sft": mean_of(kl)}


def response_kl(
    policy: Any,
    reference: Any,
    renderer: Any,
    prompts: Rows,
    answers: Sequence[Drawn],
    temperature: float,
    shards: int,
) -> list[float]:
    """log pi(response) - log pi_sft(response) of each response, in nats, at the sampling temperature. Their mean
    estimates the divergence."""
    import torch

    from models.algorithms.kl import kl_k1
    from models.devices import device_of
    from models.scoring import lay_out, response_logprobs
    from models.shards import map_shards

    @torch.inference_mode()
    def part(mine: Sequence[tuple[dict[str, Any], Drawn]], _shard: int) -> list[float]:
        found: list[float] = []
        for start in range(0, len(mine), 64):
            batch = mine[start : start + 64]
            rows = [renderer.prompt(prompt["messages"]) for prompt, _ in batch]
            drawn = [answer.ids for _, answer in batch]
            ids, attention, mask = lay_out(rows, drawn, renderer.pad_id, device_of(policy))
            ours, _ = response_logprobs(policy, ids, attention, mask.shape[1], temperature)
            theirs, _ = response_logprobs(reference, ids, attention, mask.shape[1], temperature)
            found += (kl_k1(ours, theirs) * mask).sum(1).tolist()
        return found

    return map_shards(part, list(zip(prompts, answers, strict=True)), shards)
