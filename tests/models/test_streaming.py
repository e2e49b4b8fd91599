"""Answers that are streamed, against those that are drawn at once."""

from pathlib import Path

import pytest
from torch import nn

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.generation import Request, sample
from models.streaming import Streamer

PROMPT = [1, 4, 20, 21, 22, 5]
NEVER = 10_000


def drawn(model: nn.Module, prompt: list[int], seed: int, temperature: float = 1.0, ends: tuple[int, ...] = (NEVER,)):
    config = SamplingConfig(max_new_tokens=12, batch_size=1)
    ((answer,),) = sample(model, [Request(prompt, (temperature,), seed)], config, end_ids=ends, pad_id=3)
    return answer.ids


def streamed(streamer: Streamer, prompt: list[int], seed: int, temperature: float = 1.0, ends=(NEVER,)) -> list[int]:
    return list(streamer.stream(Request(prompt, (temperature,), seed), max_new_tokens=12, end_ids=ends))


@pytest.fixture
def model(policy_folder: Path) -> nn.Module:
    return load_policy(policy_folder)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.conformance("streamed answers", equation="models.streaming:Streamer.stream")
def test_what_is_streamed_is_what_would_be_drawn_with_the_same_seed(model: nn.Module, temperature: float) -> None:
    for seed in range(5):
        ids = drawn(model, PROMPT, seed, temperature)
        assert streamed(Streamer(model, 64), PROMPT, seed, temperature) == ids
        end = ids[4]
        until_end = ids[: ids.index(end) + 1]
        assert streamed(Streamer(model, 64), PROMPT, seed, temperature, (end,)) == until_end, "its end is said"


@pytest.mark.conformance("streamed answers", equation="models.streaming:Streamer._beginning_of")
def test_a_dialogue_that_goes_on_is_read_from_where_it_differs_and_answered_as_if_it_were_new(model: nn.Module) -> None:
    streamer = Streamer(model, 64)
    said = streamed(streamer, PROMPT, 1)
    assert streamer.tokens_read == len(PROMPT)
    longer = [*PROMPT, *said, 4, 30, 5]
    assert streamed(streamer, longer, 2) == drawn(model, longer, 2)
    # the last token that was said was never read; it, and the three new ones, are
    assert streamer.tokens_read == len(PROMPT) + 4
    other = [*PROMPT[:3], 40, 41, 5]
    assert streamed(streamer, other, 3) == drawn(model, other, 3)
    assert streamer.tokens_read == len(PROMPT) + 4 + 3
    assert streamed(streamer, other, 4) == drawn(model, other, 4)
    assert streamer.tokens_read == len(PROMPT) + 4 + 3 + 1, "of the same prompt its last token, for its logits"


def test_an_answer_that_nobody_hears_to_its_end_leaves_nothing_behind(model: nn.Module) -> None:
    streamer = Streamer(model, 64)
    answer = streamer.stream(Request(PROMPT, (1.0,), 1), max_new_tokens=12, end_ids=(NEVER,))
    assert [next(answer), next(answer)] == drawn(model, PROMPT, 1)[:2]
    answer.close()  # type: ignore[attr-defined]
    assert streamed(streamer, PROMPT, 1) == drawn(model, PROMPT, 1)


def test_a_reading_that_fails_half_way_is_forgotten(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    streamer = Streamer(model, 64)
    streamed(streamer, PROMPT, 1)
    longer = [*PROMPT, 33, 34, 5]
    last = model.model.layers[-1]  # the layers before it have read the tokens by then
    monkeypatch.setattr(last, "forward", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        streamed(streamer, longer, 2)
    monkeypatch.undo()
    assert streamed(streamer, longer, 2) == drawn(model, longer, 2)


def test_the_context_bounds_prompt_and_answer_together(model: nn.Module) -> None:
    assert len(streamed(Streamer(model, len(PROMPT) + 3), PROMPT, 1)) == 3
    for prompt in ([], PROMPT):
        with pytest.raises(ValueError, match="context holds 6, answer included"):
            streamed(Streamer(model, 6), prompt, 1)
    assert Streamer(model, 10**9).context == model.config.max_position_embeddings
