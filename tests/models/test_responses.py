"""One layout for all models that read responses: what is read is what each response alone gives."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.checkpoint import backbone, load_policy, load_reward, scalar_head
from models.prefix_tree import RowCost, TreeBatch, row_cost
from models.responses import PaddedRows, ResponseBatch, lay_responses, read_logprobs, read_scores, read_values
from models.roles import Roles
from tests.models.test_prefix_tree import gradients, same_gradients
from tests.models.test_scoring import logprobs_by_hand

PROMPTS = [[1, 4, 20, 21, 22, 5], [1, 4, 30, 5], [1, 4, 2, 40, 2, 41, 42, 43, 44, 5], [1, 4, 30, 5], [1]]
RESPONSES = [[50, 51, 2], [60, 61, 62, 63, 64, 2], [70, 2], [60, 61, 99], [2]]  # the second and fourth share tokens
LENGTHS = [3, 6, 2, 3, 1]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def laid(cost: RowCost | None) -> ResponseBatch:
    return lay_responses(PROMPTS, RESPONSES, 3, cost)


def head_alone(model: nn.Module, ids: list[int]) -> torch.Tensor:
    """The scalar head on each token of one row without padding."""
    hidden = backbone(model)(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    found: torch.Tensor = scalar_head(model)(hidden)[:, 0]
    return found


def test_rows_are_filled_where_trees_fit_and_each_response_has_one_where_they_do_not(policy_folder: Path) -> None:
    filled, padded = laid(row_cost(load_policy(policy_folder))), laid(None)
    assert isinstance(filled.rows, TreeBatch)
    assert isinstance(padded.rows, PaddedRows)
    assert padded.rows.ids.shape == (5, 10 + 6)
    assert filled.rows.ids.numel() < 5 * 16 // 2  # 40 tokens, of which several begin alike
    for batch in (filled, padded):
        assert batch.starts.tolist() == [6, 4, 10, 4, 1]
        assert batch.mask.shape == (5, 6)
        assert batch.mask.sum(1).tolist() == LENGTHS
        assert torch.equal(batch.mask, batch.mask.cummin(1).values)  # a response begins in column 0


@pytest.mark.parametrize("trees", [True, False], ids=["trees", "a row each"])
@pytest.mark.parametrize("temperature", [1.0, 1.3])
@pytest.mark.conformance("padding side and position ids", equation="models.responses:read_logprobs")
@pytest.mark.conformance("sampling temperature against scoring temperature", equation="models.responses:read_logprobs")
def test_logprobs_and_their_logits_are_those_of_each_response_alone(
    policy_folder: Path, trees: bool, temperature: float
) -> None:
    model = load_policy(policy_folder)
    batch = laid(row_cost(model) if trees else None)
    with torch.no_grad():
        found, logits = read_logprobs(model, batch, temperature)
    alone = [logprobs_by_hand(model, p, r, temperature) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    for i, expected in enumerate(alone):
        torch.testing.assert_close(found[i, : LENGTHS[i]], expected, **TOLERANCE)
    assert len(logits) == sum(LENGTHS)
    said = torch.tensor([token for response in RESPONSES for token in response])
    again = (logits / temperature).log_softmax(-1).gather(1, said[:, None])[:, 0]
    torch.testing.assert_close(again, torch.cat(alone), **TOLERANCE)


@pytest.mark.parametrize("trees", [True, False], ids=["trees", "a row each"])
@pytest.mark.conformance("padding side and position ids", equation="models.responses:read_values")
def test_values_are_read_before_each_token_and_scores_after_the_last(reward_folder: Path, trees: bool) -> None:
    model = load_reward(reward_folder)
    batch = laid(row_cost(model) if trees else None)
    with torch.no_grad():
        values, scores = read_values(model, batch), read_scores(model, batch)
        for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            alone = head_alone(model, prompt + response)
            torch.testing.assert_close(values[i, : len(response)], alone[len(prompt) - 1 : -1], **TOLERANCE)
            torch.testing.assert_close(scores[i], alone[-1], **TOLERANCE)
    assert len({round(float(score), 3) for score in scores}) == 5  # equality says something


@pytest.mark.conformance("prefix tree leaks", equation="models.prefix_tree:tree_values")
def test_gradients_are_those_of_a_row_for_each_response(policy_folder: Path, reward_folder: Path) -> None:
    weights = torch.linspace(-1, 1, 5 * 6).view(5, 6)
    for folder, load in ((policy_folder, load_policy), (reward_folder, load_reward)):
        model = load(folder, trainable=True)
        each = []
        for cost in (None, row_cost(model)):
            batch = laid(cost)
            found = read_logprobs(model, batch, 1.3)[0] if load is load_policy else read_values(model, batch)
            (found * weights)[batch.mask].sum().backward()
            each.append(gradients(model))
        same_gradients(each[1], each[0], 1e-5)


@pytest.mark.parametrize("cost", [RowCost(700.0), None])
def test_what_has_no_token_is_refused(cost: RowCost | None) -> None:
    for prompts, responses in (([[1], []], [[2], [2]]), ([[1], [1]], [[2], []])):
        with pytest.raises(ValueError, match="each response must have a token, and one before it"):
            lay_responses(prompts, responses, 3, cost)


def test_five_models_share_rows_only_where_trees_fit_them_all(policy_folder: Path, reward_folder: Path) -> None:
    policy, reward = load_policy(policy_folder), load_reward(reward_folder)
    other = load_reward(reward_folder)
    assert Roles(policy, policy, reward, reward, other).row_cost == row_cost(policy)
    backbone(other).config._attn_implementation = "flash_attention_2"
    assert Roles(policy, policy, reward, reward, other).row_cost is None
