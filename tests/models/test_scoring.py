"""Padding must change nothing that is read from a model."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from models.checkpoint import backbone, load_policy, load_reward
from models.dialogue import Renderer
from models.scoring import (
    last_token_scores,
    lay_out,
    pad_right,
    positions_of,
    response_logprobs,
    rows_to_read,
    score_rows,
    token_values,
)

PROMPTS = [[1, 4, 20, 21, 22, 5], [1, 4, 30, 5], [1, 4, 2, 40, 2, 41, 42, 43, 44, 5]]  # the last holds EOS, twice
RESPONSES = [[50, 51, 2], [60, 61, 62, 63, 64, 2], [70, 2]]
ROWS = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def logprobs_by_hand(model: nn.Module, prompt: list[int], response: list[int], temperature: float) -> torch.Tensor:
    """One row, no padding, no mask, no positions given."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0] / temperature
    logprobs = logits.double().log_softmax(-1)
    first = len(prompt)
    return torch.stack([logprobs[first + t - 1, token] for t, token in enumerate(response)]).float()


def pad_left(rows: list[list[int]], pad_id: int, extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows)) + extra
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


@pytest.mark.parametrize("pad_id", [3, 2], ids=["pad", "pad is eos"])
@pytest.mark.parametrize("temperature", [1.0, 1.3])
@pytest.mark.conformance("padding side and position ids", equation="models.scoring:response_logprobs")
def test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch(
    policy_folder: Path, pad_id: int, temperature: float
) -> None:
    model = load_policy(policy_folder)
    ids, attention, mask = lay_out(PROMPTS, RESPONSES, pad_id)
    batched, _ = response_logprobs(model, ids, attention, mask.shape[1], temperature)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        by_hand = logprobs_by_hand(model, prompt, response, temperature)
        alone, _ = response_logprobs(model, *lay_out([prompt], [response], pad_id)[:2], len(response), temperature)
        torch.testing.assert_close(alone[0], by_hand, **TOLERANCE)
        torch.testing.assert_close(batched[i][mask[i]], by_hand, **TOLERANCE)
        assert int(mask[i].sum()) == len(response)


@pytest.mark.conformance("padding side and position ids", equation="models.scoring:response_logprobs")
def test_logprobs_are_equal_whatever_stands_at_the_padding(policy_folder: Path) -> None:
    model = load_policy(policy_folder)
    ids, attention, mask = lay_out(PROMPTS, RESPONSES, 3)
    other = torch.where(attention.bool(), ids, torch.full_like(ids, 99))
    first, _ = response_logprobs(model, ids, attention, mask.shape[1], 1.0)
    second, _ = response_logprobs(model, other, attention, mask.shape[1], 1.0)
    torch.testing.assert_close(first[mask], second[mask], **TOLERANCE)


@pytest.mark.parametrize("pad_id", [3, 2], ids=["pad", "pad is eos"])
@pytest.mark.conformance("padding side and position ids", equation="models.scoring:last_token_scores")
@pytest.mark.conformance(
    "the reward is read at the wrong token when pad = eos", equation="models.scoring:last_token_scores"
)
def test_reward_scores_are_equal_alone_left_padded_and_right_padded(reward_folder: Path, pad_id: int) -> None:
    model = load_reward(reward_folder)
    with torch.no_grad():
        alone = torch.cat([last_token_scores(model, *pad_right([row], pad_id)) for row in ROWS])
        right = last_token_scores(model, *pad_right(ROWS, pad_id))
        left = last_token_scores(model, *pad_left(ROWS, pad_id, extra=3))
    assert len({round(score, 3) for score in alone.tolist()}) == 3  # the scores differ: equality says something
    torch.testing.assert_close(right, alone, **TOLERANCE)
    torch.testing.assert_close(left, alone, **TOLERANCE)


@pytest.mark.conformance(
    "the reward is read at the wrong token when pad = eos", equation="models.scoring:last_token_scores"
)
def test_the_reward_is_read_at_the_last_real_token_also_where_eos_stands_in_the_prompt(reward_folder: Path) -> None:
    """The oracle is plain transformers on the unpadded row with no padding token to look for.

    One row is cut off without an EOS: where it ends with one, padding with EOS has its score by accident.
    """
    plain = AutoModelForSequenceClassification.from_pretrained(reward_folder, num_labels=1)
    model = load_reward(reward_folder)
    for row in [*ROWS, [*PROMPTS[2], 70, 71]]:
        with torch.no_grad():
            hidden = plain.model(input_ids=torch.tensor([row])).last_hidden_state[0, -1]
            expected = plain.score(hidden)
            padded = last_token_scores(model, *pad_right([row, [1] * 30], pad_id=2))[:1]
        torch.testing.assert_close(padded, expected, **TOLERANCE)


def test_score_rows_keeps_the_order_of_the_rows(reward_folder: Path) -> None:
    model = load_reward(reward_folder)
    with torch.no_grad():
        alone = [float(last_token_scores(model, *pad_right([row], 3))) for row in ROWS]
    for size in (1, 2, 8):
        assert score_rows(model, ROWS, 3, size) == pytest.approx(alone, abs=1e-5)
    assert score_rows(model, ROWS[::-1], 3, 2) == pytest.approx(alone[::-1], abs=1e-5)


def columns_read(model: nn.Module, rows: list[list[int]], batch_size: int) -> tuple[list[float], list[tuple[int, int]]]:
    """Scores, and rows and columns of each forward pass."""
    shapes: list[tuple[int, int]] = []
    hook = backbone(model).register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    scores = score_rows(model, rows, 3, batch_size)
    hook.remove()
    return scores, shapes


def test_candidates_of_a_prompt_are_scored_in_one_row_and_as_if_alone(reward_folder: Path) -> None:
    """Two prompts of 20 tokens with three candidates each, in mixed order, and a dialogue of its own."""
    prompts = [[1, 4, *range(20, 37), 5], [1, 6, *range(40, 57), 5]]
    rows = [[*prompt, 60 + i, 70 + i, 2] for i in range(3) for prompt in prompts] + [[9, 8, 7, 2]]
    model = load_reward(reward_folder)
    with torch.no_grad():
        alone = [float(last_token_scores(model, *pad_right([row], 3))) for row in rows]
    scores, shapes = columns_read(model, rows, 8)
    assert scores == pytest.approx(alone, abs=1e-5)
    assert shapes == [(1, 4), (2, 29)]
    assert columns_read(model, rows, 3)[1] == [(1, 4), (1, 29), (1, 29)]


def test_dialogues_that_share_too_little_are_read_as_ever(reward_folder: Path) -> None:
    rows = [[1, *range(start, start + 20)] for start in (10, 40, 70)]
    _, shapes = columns_read(load_reward(reward_folder), rows, 8)
    assert shapes == [(3, 21)]


def test_score_rows_leaves_the_training_mode_as_it_was(reward_folder: Path) -> None:
    model = load_reward(reward_folder, trainable=True)
    score_rows(model, ROWS, 3, 2)
    assert model.training


@pytest.mark.conformance("padding side and position ids", equation="models.scoring:token_values")
def test_values_are_equal_alone_and_padded(reward_folder: Path) -> None:
    model = load_reward(reward_folder)
    ids, mask = pad_left(ROWS, 3)
    with torch.no_grad():
        batched = token_values(model, ids, mask)
        for i, row in enumerate(ROWS):
            alone = token_values(model, torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long))
            torch.testing.assert_close(batched[i, -len(row) :], alone[0], **TOLERANCE)


@pytest.mark.conformance("value head start", equation="models.checkpoint:load_reward")
def test_a_value_model_starts_with_the_values_of_its_reward_model(reward_folder: Path) -> None:
    """PPO opens the reward model once more, trainable: at the last token the two say the same."""
    value, reward = load_reward(reward_folder, trainable=True), load_reward(reward_folder)
    ids, mask = pad_right(ROWS, 3)
    with torch.no_grad():
        values, scores = token_values(value, ids, mask), last_token_scores(reward, ids, mask)
    for i, row in enumerate(ROWS):
        torch.testing.assert_close(values[i, len(row) - 1], scores[i], **TOLERANCE)


@pytest.mark.conformance("padding side and position ids", equation="models.scoring:positions_of")
def test_positions_start_at_zero_on_the_first_real_token() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert positions_of(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


@pytest.mark.conformance("padding side and position ids", equation="models.scoring:lay_out")
def test_layout_by_hand() -> None:
    ids, attention, mask = lay_out([[7], [8, 9]], [[4, 5, 2], [6]], pad_id=3)
    assert ids.tolist() == [[3, 7, 4, 5, 2], [8, 9, 6, 3, 3]]
    assert attention.tolist() == [[0, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.conformance("dropout in rollout or reference", equation="models.checkpoint:load_policy")
def test_two_reference_passes_are_equal_to_the_bit_where_the_config_asks_for_dropout(
    dropping_policy: Path, renderer: Renderer
) -> None:
    ids, attention, mask = lay_out(PROMPTS, RESPONSES, renderer.pad_id)
    with torch.no_grad():
        passes = []
        for trainable in (False, False, True, True):  # the reference, and the policy in training mode
            model = load_policy(dropping_policy, trainable=trainable)
            assert model.training is trainable
            passes += [response_logprobs(model, ids, attention, mask.shape[1], 1.0)[0] for _ in range(2)]
    assert all(torch.equal(passes[0], other) for other in passes[1:])


@pytest.mark.conformance("the logits of a pass outgrow the memory", equation="models.scoring:rows_to_read")
def test_rows_are_read_together_as_far_as_their_logits_are_few() -> None:
    """2 ** 26 logits are 64 rows of 8 tokens of 131,072 pieces, 4 rows of 128 tokens, and none of 1,024."""
    pieces = 131_072
    assert [len(rows) for rows in rows_to_read([8] * 130, pieces, 1000)] == [64, 64, 2]
    assert [len(rows) for rows in rows_to_read([8] * 130, pieces, 50)] == [50, 50, 30]
    assert list(rows_to_read([128, 8, 1024, 128, 100, 64, 8], pieces, 64)) == [[2], [0, 3, 4, 5], [1, 6]]
    assert list(rows_to_read([0, 0], pieces, 64)) == [[0, 1]]
    assert list(rows_to_read([], pieces, 64)) == []
