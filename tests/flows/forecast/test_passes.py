"""How many passes answering and scoring come to, by hand and against what the sampler really does."""

import random
from typing import Any

import pytest
import torch

from flows.forecast.passes import ALIKE, Passes, Spread, answering, filled, scoring, spread_of
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
    reading, decoding = answering(SamplingConfig(max_new_tokens=40, batch_size=20, shards=2), 60, 7, 10, ALIKE)
    assert (reading.count, reading.rows, reading.tokens, reading.processes) == (2, 15, 7, 2)
    assert (decoding.count, decoding.rows, decoding.mean_rows, decoding.tokens) == (80, 15, 3.75, 17)
    assert decoding.all_tokens == 60 * 10
    longer = answering(SamplingConfig(max_new_tokens=40, batch_size=20), 10, 7, 100, ALIKE)[1]
    assert (longer.alive, longer.all_tokens) == (1.0, 400), "an answer is cut at the limit"


def test_a_prompt_is_read_once_for_all_its_answers() -> None:
    reading, decoding = answering(SamplingConfig(max_new_tokens=8, batch_size=90), 90, 7, 4, ALIKE, to_each=9)
    assert (reading.rows, decoding.rows) == (10, 90)
    assert scoring(SamplingConfig(batch_size=50), 90, 5.0, 2, ALIKE).all_tokens == 90 * 5 * 2


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
    planned = answering(config, 16, 3, sum(lengths) / 16, ALIKE)[1]
    assert planned.all_tokens == pytest.approx(sum(rows)) == sum(lengths)
    assert len(rows) <= planned.count == 24


def test_a_batch_of_rows_is_as_wide_as_its_longest() -> None:
    """Lengths 1, 2 and 3, of mean 2: in one batch of 3 rows as wide as 3, in a batch each as wide as they are, with a
    mean square of 14 / 3 by 4."""
    spread = spread_of([2, 1, 3])
    assert spread == Spread((0.5, 1.0, 1.5))
    assert spread.padded(3, 1) == (1.5, 1.0)
    assert spread.padded(3, 3) == pytest.approx((1.0, 14 / 3 / 4))
    assert spread.padded(3000, 1000) == pytest.approx((1.0, 14 / 3 / 4)), "more batches than rows are known of"
    assert ALIKE.padded(3, 1) == spread_of([]).padded(3, 1) == (1.0, 1.0)
    of = scoring(SamplingConfig(batch_size=3), 3, 10.0, 2, spread)
    assert (of.count, of.rows, of.tokens, of.spread) == (2, 3, 15, 1)


def test_the_columns_that_are_planned_are_those_that_the_sampler_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 prompts of very unlike length, in batches of 16, told the lengths of other ones."""
    rng = random.Random(4)
    lengths, others = ([min(40, 2 + int(rng.expovariate(0.12))) for _ in range(count)] for count in (60, 400))
    model = build_llama(SHAPE, 0, 0, 1, 2)
    read, forward = [0], model.model.forward

    def counted(*given: Any, **kwargs: Any) -> Any:
        rows, columns = kwargs["input_ids"].shape
        read[0] += rows * columns if columns > 1 else 0
        return forward(*given, **kwargs)

    monkeypatch.setattr(model.model, "forward", counted)
    config = SamplingConfig(max_new_tokens=2, batch_size=16)
    sample(model, ask([[5] * length for length in lengths], [1.0], 3), config, end_ids=[2], pad_id=0)
    mean = sum(lengths) / len(lengths)
    planned = answering(config, 60, mean, 2, spread_of(others))[0].all_tokens
    assert planned == pytest.approx(read[0], rel=0.1)
    assert read[0] > 1.15 * sum(lengths), "padding counts here"


def test_rows_that_are_filled_have_as_many_columns_and_are_as_wide_as_the_longest() -> None:
    spread = spread_of([10, 20, 30])
    of = filled(Passes("train", 5, 30, 20), spread)
    assert (of.count, of.rows, of.tokens) == (5, 20, 30)
    assert of.all_tokens == 5 * 30 * 20
