"""How far the policy has gone from SFT (Llama 2, section 3.2.3)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from data_store.estimate import Estimate
from models.config import SamplingConfig
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
        kl = response_kl(
            of.policy, reference, of.renderer, of.prompts, of.answers, config.temperature, config.sampling, of.scored()
        )
        return {"kl_to_sft": mean_of(kl)}


def response_kl(
    policy: Any,
    reference: Any,
    renderer: Any,
    prompts: Rows,
    answers: Sequence[Drawn],
    temperature: float,
    sampling: SamplingConfig,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[float]:
    """log pi(response) - log pi_sft(response) of each response, in nats, at the sampling temperature. Their mean
    estimates the divergence."""
    import torch

    from models.algorithms.kl import kl_k1
    from models.devices import device_of
    from models.scoring import lay_out, response_logprobs, rows_to_read
    from models.shards import map_shards
    from models.working_copy import fast_reading

    Pair = tuple[list[int], list[int]]

    @torch.inference_mode()
    def part(mine: Sequence[Pair], shard: int) -> list[float]:
        found, done = [0.0] * len(mine), 0
        vocabulary = policy.config.vocab_size
        with fast_reading(policy), fast_reading(reference):
            for rows in rows_to_read([len(said) for _, said in mine], vocabulary, sampling.batch_size):
                asked, said = zip(*(mine[i] for i in rows), strict=True)
                ids, attention, mask = lay_out(asked, said, renderer.pad_id, device_of(policy))
                ours, _ = response_logprobs(policy, ids, attention, mask.shape[1], temperature)
                theirs, _ = response_logprobs(reference, ids, attention, mask.shape[1], temperature)
                for i, value in zip(rows, (kl_k1(ours, theirs) * mask).sum(1).tolist(), strict=True):
                    found[i] = value
                done += len(rows)
                if shard == 0:
                    on_progress(done / len(mine))
        return found

    pairs = [(renderer.prompt(prompt["messages"]), said.ids) for prompt, said in zip(prompts, answers, strict=True)]
    return map_shards(part, pairs, sampling.shards)
