"""Sampling, against the model read token by token without cache, batch or padding."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.generation import BLOCK, Request, Response, ask, draw_tokens, sample
from models.scoring import lay_out, response_logprobs

PROMPTS = [[1, 4, 20, 21, 22, 5], [1, 4, 30, 5], [1, 4, 40, 41, 42, 43, 44, 5], [1, 4, 33, 5]]
NEVER = 10_000  # an end of sequence that no model says


def greedy(model: nn.Module, prompt: list[int], length: int, eos_id: int = NEVER) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(length):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == eos_id:
                break
    return ids[len(prompt) :]


def draw(
    model: nn.Module,
    prompts: list[list[int]] = PROMPTS,
    *,
    temperature: float = 1.0,
    tokens: int = 8,
    batch: int = 64,
    num_samples: int = 1,
    eos_id: int = NEVER,
    seed: int = 1,
) -> list[list[Response]]:
    config = SamplingConfig(max_new_tokens=tokens, batch_size=batch)
    return sample(model, ask(prompts, [temperature] * num_samples, seed), config, end_ids=(eos_id,), pad_id=3)


def common_token(model: nn.Module) -> int:
    """A token that greedy decoding says somewhere in the middle: it serves as end of sequence."""
    said = Counter(token for prompt in PROMPTS for token in set(greedy(model, prompt, 8)[1:6]))
    return said.most_common(1)[0][0]


def two_tokens(model: nn.Module) -> list[int]:
    """Two tokens that greedy decoding says: they serve as ends of a turn."""
    said = Counter(token for prompt in PROMPTS for token in set(greedy(model, prompt, 8)))
    return [token for token, _ in said.most_common(2)]


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.conformance("padding side and position ids", equation="models.generation:_decode")
def test_a_tiny_temperature_says_the_models_argmax(policy_folder: Path, batch: int) -> None:
    model = load_policy(policy_folder)
    drawn = draw(model, temperature=1e-4, batch=batch)
    assert [responses[0].ids for responses in drawn] == [greedy(model, prompt, 8) for prompt in PROMPTS]


def test_one_prefill_for_all_samples_of_a_prompt_equals_rows_of_their_own(policy_folder: Path) -> None:
    model = load_policy(policy_folder)
    drawn = draw(model, temperature=1e-4, num_samples=3)
    assert [[r.ids for r in responses] for responses in drawn] == [[greedy(model, p, 8)] * 3 for p in PROMPTS]


@pytest.mark.conformance("padding side and position ids", equation="models.generation:_decode")
def test_finished_rows_retire_and_disturb_no_other(policy_folder: Path) -> None:
    model = load_policy(policy_folder)
    eos = common_token(model)
    expected = [greedy(model, prompt, 8, eos) for prompt in PROMPTS]
    assert len({len(ids) for ids in expected}) > 1  # some end early, some do not
    for responses, ids in zip(draw(model, temperature=1e-4, eos_id=eos, num_samples=2), expected, strict=True):
        for response in responses:
            assert response.ids == ids
            assert response.finished == (ids[-1] == eos)


@pytest.mark.conformance("a turn that ends with another token than eos", equation="models.generation:_decode")
def test_a_response_ends_with_whichever_end_it_says_first(policy_folder: Path) -> None:
    model = load_policy(policy_folder)
    alone = {end: [r.ids for (r,) in draw(model, temperature=1e-4, eos_id=end)] for end in two_tokens(model)}
    first, second = alone.values()
    assert first != second
    config = SamplingConfig(max_new_tokens=8)
    drawn = sample(model, ask(PROMPTS, [1e-4], 1), config, end_ids=tuple(alone), pad_id=3)
    assert [r.ids for (r,) in drawn] == [min(both, key=len) for both in zip(first, second, strict=True)]
    assert all(r.finished == (r.ids[-1] in alone) for (r,) in drawn)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.3])
@pytest.mark.conformance(
    "sampling temperature against scoring temperature", equation="models.scoring:response_logprobs"
)
def test_the_first_ratio_is_one_at_the_sampling_temperature(policy_folder: Path, temperature: float) -> None:
    """exp(recomputed - sampled log-probability), with rows that retire early, shared prefill and mixed lengths."""
    model = load_policy(policy_folder)
    drawn = draw(model, temperature=temperature, num_samples=4, eos_id=common_token(model), tokens=12)
    prompts = [prompt for prompt, responses in zip(PROMPTS, drawn, strict=True) for _ in responses]
    responses = [response for group in drawn for response in group]
    ids, attention, mask = lay_out(prompts, [r.ids for r in responses], 3)
    with torch.no_grad():
        again, _ = response_logprobs(model, ids, attention, mask.shape[1], temperature)
    for i, response in enumerate(responses):
        ratio = (again[i][mask[i]] - torch.tensor(response.logprobs)).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)


@pytest.mark.conformance(
    "sampling temperature against scoring temperature", equation="models.scoring:response_logprobs"
)
def test_another_temperature_would_not_give_ratio_one(policy_folder: Path) -> None:
    """Guards the test above: the difference that it looks for is large."""
    model = load_policy(policy_folder)
    [[response], *_] = draw(model, temperature=1.3)
    ids, attention, mask = lay_out(PROMPTS[:1], [response.ids], 3)
    with torch.no_grad():
        again, _ = response_logprobs(model, ids, attention, mask.shape[1], 1.0)
    assert float((again[0] - torch.tensor(response.logprobs)).abs().max()) > 0.05


@pytest.mark.conformance("top-p / top-k scores used as log-probabilities", equation="models.config:SamplingConfig")
def test_the_sampler_takes_no_top_p_and_no_top_k() -> None:
    for cut in ({"top_p": 0.9}, {"top_k": 50}, {"min_p": 0.1}, {"repetition_penalty": 1.2}):
        with pytest.raises(ValidationError, match="Extra inputs"):
            SamplingConfig(**cut)


@pytest.mark.conformance("top-p / top-k scores used as log-probabilities", equation="models.generation:_decode")
def test_draws_follow_the_full_distribution_whatever_the_checkpoint_asks_for(policy_folder: Path) -> None:
    """A generation config with top-p and top-k beside the weights is not followed: the tail is drawn as well."""
    model = load_policy(policy_folder)
    model.generation_config.top_p, model.generation_config.top_k = 0.1, 1  # type: ignore[union-attr]
    count = 4000
    [responses] = draw(model, PROMPTS[:1], temperature=1.3, tokens=1, batch=count, num_samples=count)
    with torch.no_grad():
        exact = (model(input_ids=torch.tensor(PROMPTS[:1])).logits[0, -1] / 1.3).softmax(-1)
    seen = torch.bincount(torch.tensor([r.ids[0] for r in responses]), minlength=len(exact)) / count
    for token in exact.topk(5).indices.tolist():
        spread = float((exact[token] * (1 - exact[token]) / count).sqrt())
        assert float(seen[token]) == pytest.approx(float(exact[token]), abs=5 * spread)
    tail = exact < exact.topk(20).values[-1]
    assert float(seen[tail].sum()) == pytest.approx(float(exact[tail].sum()), abs=0.05)
    assert float(exact[tail].sum()) > 0.1


def test_the_same_seed_draws_the_same_and_another_one_does_not(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    torch.manual_seed(0)
    first = draw(model, seed=5)
    torch.manual_seed(1)  # the global generator has no say
    assert draw(model, seed=5) == first
    assert draw(model, seed=6) != first


@pytest.mark.conformance("reward on the wrong position, truncated responses", equation="models.generation:_decode")
def test_an_unfinished_response_has_all_its_tokens_and_says_so(policy_folder: Path) -> None:
    for [response] in draw(load_policy(policy_folder), tokens=5):
        assert (len(response.ids), len(response.logprobs), response.finished) == (5, 5, False)


def test_a_response_stops_where_the_context_ends(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy)
    prompt = [1, *[20] * 124]  # the context holds 128
    [[response]] = draw(model, [prompt], tokens=50)
    assert len(response.ids) == 3


@pytest.mark.parametrize("prompt", [[], [20] * 128])
def test_a_prompt_that_leaves_no_room_is_refused_with_its_number(gqa_policy: Path, prompt: list[int]) -> None:
    with pytest.raises(ValueError, match="prompt 2 has"):
        draw(load_policy(gqa_policy), [PROMPTS[0], prompt])


def test_sampling_leaves_the_training_mode_as_it_was(gqa_policy: Path) -> None:
    model = load_policy(gqa_policy, trainable=True)
    draw(model)
    assert model.training


def test_progress_ends_at_one(gqa_policy: Path) -> None:
    seen: list[float] = []
    config = SamplingConfig(max_new_tokens=2, batch_size=2)
    sample(load_policy(gqa_policy), ask(PROMPTS[:3], [1.0], 1), config, end_ids=(2,), pad_id=3, on_progress=seen.append)
    assert seen == [pytest.approx(2 / 3), 1.0]


# A response depends on its request alone


@pytest.mark.conformance("a sample depends on what it is batched with", equation="models.generation:sample")
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64])
def test_the_same_responses_are_drawn_in_batches_of_any_size(policy_folder: Path, batch: int) -> None:
    """Mixed lengths, several samples a prompt, and ends that let rows leave early."""
    model = load_policy(policy_folder)
    eos = common_token(model)
    alone = draw(model, temperature=1.3, batch=1, num_samples=3, tokens=12, eos_id=eos)
    found = draw(model, temperature=1.3, batch=batch, num_samples=3, tokens=12, eos_id=eos)
    assert [[r.ids for r in responses] for responses in found] == [[r.ids for r in responses] for responses in alone]
    assert len({tuple(r.ids) for responses in alone for r in responses}) == 3 * len(PROMPTS)
    for ours, theirs in zip(found, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@pytest.mark.conformance("a sample depends on what it is batched with", equation="models.generation:sample")
def test_the_same_responses_are_drawn_where_another_prompt_is_asked_beside_them(policy_folder: Path) -> None:
    """The longest prompt, which widens the rows, and one with other temperatures."""
    model, config = load_policy(policy_folder), SamplingConfig(max_new_tokens=9)
    few = ask(PROMPTS[:2], [0.7, 1.2], 5)
    more = [*few, Request([1, *range(20, 60)], (1.0,), 9)]
    alone, beside = (sample(model, asked, config, end_ids=(NEVER,), pad_id=3) for asked in (few, more))
    assert [[r.ids for r in each] for each in beside[:2]] == [[r.ids for r in each] for each in alone]
    assert [len(each) for each in beside] == [2, 2, 1]


def test_rows_keep_their_temperature_when_others_leave(policy_folder: Path) -> None:
    """Cold rows end early; hot ones, which stand behind them, take their places."""
    model = load_policy(policy_folder)
    requests = ask(PROMPTS, [1e-4, 1e-4, 1.5], 2)
    ends = tuple(two_tokens(model))
    together, alone = (
        sample(model, requests, SamplingConfig(max_new_tokens=12, batch_size=size), end_ids=ends, pad_id=3)
        for size in (64, 1)
    )
    assert [[r.ids for r in each] for each in together] == [[r.ids for r in each] for each in alone]
    assert any(cold.finished and len(cold.ids) < len(hot.ids) for cold, _, hot in together)


def test_near_the_end_of_the_context_a_response_has_room_whatever_stands_beside_it(gqa_policy: Path) -> None:
    long, short = [1, *[20] * 124], [1, 20]  # the context holds 128
    [[first], [second]] = draw(load_policy(gqa_policy), [long, short], tokens=9)
    assert (len(first.ids), len(second.ids)) == (3, 9)


def test_each_temperature_of_a_request_is_its_responses_own(policy_folder: Path) -> None:
    """Next to 0 the model says its likeliest tokens, at 50 nothing of that is left."""
    model = load_policy(policy_folder)
    request, config = Request(PROMPTS[0], (1e-4, 50.0, 1e-4), 3), SamplingConfig(max_new_tokens=8)
    [[cold, hot, again]] = sample(model, [request], config, end_ids=(NEVER,), pad_id=3)
    assert cold.ids == again.ids == greedy(model, PROMPTS[0], 8)
    assert max(cold.logprobs) == pytest.approx(0, abs=1e-6)
    assert hot.logprobs == pytest.approx([-math.log(model.config.vocab_size)] * 8, abs=0.3)  # type: ignore[union-attr,operator,arg-type]


def test_tokens_are_drawn_by_cumulated_probability_by_hand() -> None:
    """.1 .2 0 .7: the bounds are .1, .3 and .3; a token of probability 0 is never drawn, the last one at the most."""
    logprobs = torch.tensor([[0.1, 0.2, 0.0, 0.7]], dtype=torch.float64).log().expand(6, 4)
    uniform = torch.tensor([0.0, 0.0999, 0.1001, 0.2999, 0.3001, 1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logprobs, uniform)[:, 0].tolist() == [0, 0, 1, 1, 3, 3]
    certain = torch.tensor([[0.0, 1.0, 0.0]]).log()
    assert draw_tokens(certain, torch.tensor([1 - 2**-53], dtype=torch.float64)).tolist() == [[1]]
    assert draw_tokens(certain, torch.zeros(1, dtype=torch.float64)).tolist() == [[1]], "nor the first one at the least"


@pytest.mark.conformance("a vocabulary of many blocks", equation="models.generation:draw_tokens")
def test_a_token_is_found_in_the_block_that_it_stands_in() -> None:
    """1/2 on the last token of the first block, 1/8 on each of two of the third, 1/4 on the first of the last."""
    probabilities = torch.zeros(3 * BLOCK + 5)
    first, second, third, fourth = places = [BLOCK - 1, 2 * BLOCK + 7, 2 * BLOCK + 9, 3 * BLOCK]
    probabilities[places] = torch.tensor([0.5, 0.125, 0.125, 0.25])
    uniform = torch.tensor([0.0, 0.499, 0.5, 0.624, 0.626, 0.749, 0.75, 1 - 2**-53], dtype=torch.float64)
    drawn = draw_tokens(probabilities.log().expand(8, -1), uniform)
    assert drawn[:, 0].tolist() == [first, first, second, second, third, third, fourth, fourth]


@pytest.mark.conformance("a vocabulary of many blocks", equation="models.generation:draw_tokens")
def test_draws_of_a_large_vocabulary_follow_its_distribution() -> None:
    """Pearson's chi-square of 6,000 draws from 2,000 tokens in 50 bins: below 85.35, which 999 of 1,000 true draws
    are (49 degrees of freedom)."""
    generator = torch.Generator().manual_seed(1)
    logprobs = (3 * torch.randn(2000, generator=generator)).log_softmax(0)
    uniform = torch.rand(6000, generator=generator, dtype=torch.float64)
    drawn = draw_tokens(logprobs.expand(6000, -1), uniform)[:, 0]
    bins = torch.arange(2000) % 50
    expected = 6000 * torch.zeros(50).scatter_add(0, bins, logprobs.exp())
    seen = torch.bincount(bins[drawn], minlength=50)
    assert float(((seen - expected) ** 2 / expected).sum()) < 85.35


def test_a_vocabulary_of_49152_is_drawn_from_as_by_its_cumulated_sum() -> None:
    generator = torch.Generator().manual_seed(2)
    logprobs = (2 * torch.randn(40, 49_152, generator=generator)).log_softmax(-1)
    uniform = torch.rand(40, generator=generator, dtype=torch.float64)
    cumulated = logprobs.double().exp().cumsum(-1)
    plain = torch.searchsorted(cumulated, uniform[:, None] * cumulated[:, -1:], right=True)
    assert torch.equal(draw_tokens(logprobs, uniform), plain)
