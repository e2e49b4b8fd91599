"""How many passes answering and scoring come to, by hand and against what the sampler really does."""

import pytest
import torch

from flows.forecast.passes import answering, scoring
from models import generation
from models.config import SamplingConfig
from models.generation import ask, sample
from models.llama import build_llama
from models.llama_presets import Architecture

SHAPE = Architecture(
    hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=2, ffn_size=32, context_length=64, vocab_size=32
)


def test_answers_leave_their_batch_and_the_longest_is_waited_for() -> None:
    """60 rows in two shards of 30, batches of 20: two batches each, 15 rows a batch; with a mean answer of 10 tokens of
    40 a quarter of the rows are there in the mean pass."""
    reading, decoding = answering(SamplingConfig(max_new_tokens=40, batch_size=20, shards=2), 60, 7, 10)
    assert (reading.count, reading.rows, reading.tokens, reading.processes) == (2, 15, 7, 2)
    assert (decoding.count, decoding.rows, decoding.mean_rows, decoding.tokens) == (80, 15, 3.75, 17)
    assert decoding.all_tokens == 60 * 10
    longer = answering(SamplingConfig(max_new_tokens=40, batch_size=20), 10, 7, 100)[1]
    assert (longer.alive, longer.all_tokens) == (1.0, 400), "an answer is cut at the limit"


def test_a_prompt_is_read_once_for_all_its_answers() -> None:
    reading, decoding = answering(SamplingConfig(max_new_tokens=8, batch_size=90), 90, 7, 4, to_each=9)
    assert (reading.rows, decoding.rows) == (10, 90)
    assert scoring(SamplingConfig(batch_size=50), 90, 5.0, 2).all_tokens == 90 * 5 * 2


@pytest.mark.conformance(
    "a slow machine that cannot be told from a busy one", equation="flows.forecast.passes:decoding"
)
def test_the_tokens_that_are_planned_are_those_that_the_sampler_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told the mean length of the answers, the plan has their number of drawn tokens, and the sampler's passes."""
    rows: list[int] = []
    drawn = generation.draw_tokens

    def counted(logprobs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        rows.append(len(logprobs))
        return drawn(logprobs, uniform)

    monkeypatch.setattr(generation, "draw_tokens", counted)
    model = build_llama(SHAPE, 0, 0, 1, 2)
    config = SamplingConfig(max_new_tokens=12, batch_size=8)
    found = sample(model, ask([[1, 5, 6]] * 16, [1.0], 3), config, end_ids=[2, 3, 4], pad_id=0)
    lengths = [len(each.ids) for (each,) in found]
    planned = answering(config, 16, 3, sum(lengths) / 16)[1]
    assert planned.all_tokens == pytest.approx(sum(rows)) == sum(lengths)
    assert len(rows) <= planned.count == 24
