"""Generalised advantage estimation."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from models.algorithms.gae import gae

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=4)
FULL = torch.ones(1, 3, dtype=torch.bool)


def test_gae_by_hand() -> None:
    rewards, values = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 1.5]])
    advantages, returns = gae(rewards, values, FULL, gamma=0.5, gae_lambda=0.5)
    # delta_2 = 2 + 0 - 1.5 = .5; delta_1 = 0 + .5 * 1.5 - 1 = -.25; delta_0 = 1 + .5 * 1 - .5 = 1.
    # A_2 = .5; A_1 = -.25 + .25 * .5 = -.125; A_0 = 1 + .25 * -.125 = .96875.
    assert advantages.tolist() == [[0.96875, -0.125, 0.5]]
    assert returns.tolist() == [[1.46875, 0.875, 2.0]]


def _random(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(lengths) + 7 * sum(lengths))
    rewards, values = torch.randn(2, len(lengths), 6, generator=generator, dtype=torch.float64)
    return rewards, values, torch.arange(6)[None] < torch.tensor(lengths)[:, None]


@given(LENGTHS, st.floats(0, 1))
@pytest.mark.conformance("GAE past the end", equation="models.algorithms.gae:gae")
def test_lambda_1_gives_plain_discounted_returns(lengths: list[int], gamma: float) -> None:
    rewards, values, mask = _random(lengths)
    _, returns = gae(rewards, values, mask, gamma, gae_lambda=1.0)
    for row, length in enumerate(lengths):
        for t in range(length):
            plain = sum(gamma ** (s - t) * rewards[row, s].item() for s in range(t, length))
            assert returns[row, t].item() == pytest.approx(plain, abs=1e-9)


@given(LENGTHS, st.floats(0, 1))
@pytest.mark.conformance("GAE past the end", equation="models.algorithms.gae:gae")
def test_lambda_0_gives_the_td_errors_and_0_after_the_end(lengths: list[int], gamma: float) -> None:
    rewards, values, mask = _random(lengths)
    advantages, _ = gae(rewards, values, mask, gamma, gae_lambda=0.0)
    for row, length in enumerate(lengths):
        for t in range(length):
            next_value = values[row, t + 1].item() if t + 1 < length else 0.0
            td_error = rewards[row, t].item() + gamma * next_value - values[row, t].item()
            assert advantages[row, t].item() == pytest.approx(td_error, abs=1e-9)


@given(LENGTHS, st.floats(), st.floats(), st.floats(0, 1), st.floats(0, 1))
@example([2, 0, 5], 1.0, 3.0, 0.9, 0.8)
@pytest.mark.conformance("GAE past the end", equation="models.algorithms.gae:gae")
def test_values_at_padding_do_not_change_real_advantages(
    lengths: list[int], reward: float, value: float, gamma: float, gae_lambda: float
) -> None:
    """What stands at padding differs between rewards and values: equal numbers would cancel."""
    rewards, values, mask = _random(lengths)
    clean = gae(rewards * mask, values * mask, mask, gamma, gae_lambda)
    dirty_rewards = torch.where(mask, rewards, torch.full_like(rewards, reward))
    dirty_values = torch.where(mask, values, torch.full_like(values, value))
    dirty = gae(dirty_rewards, dirty_values, mask, gamma, gae_lambda)
    for ours, theirs in zip(dirty, clean, strict=True):
        assert torch.equal(ours, theirs)
        assert ours[~mask].eq(0).all()


def test_padding_on_the_left_in_the_middle_and_on_the_right_is_the_same_as_none() -> None:
    rewards, values = torch.tensor([[1.0, -1.0, 2.0]]), torch.tensor([[0.3, 0.2, 0.1]])
    plain_advantages, plain_returns = gae(rewards, values, FULL, 0.9, 0.8)
    mask = torch.tensor([[False, True, False, True, True, False]])
    spread_rewards, spread_values = torch.full((2, 1, 6), math.nan)
    spread_rewards[mask], spread_values[mask] = rewards[0], values[0]
    advantages, returns = gae(spread_rewards, spread_values, mask, 0.9, 0.8)
    assert torch.equal(advantages[mask], plain_advantages[0])
    assert torch.equal(returns[mask], plain_returns[0])


def test_a_perfect_value_function_leaves_no_advantage() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    advantages, _ = gae(rewards, torch.tensor([[6.0, 5.0, 3.0]]), FULL, gamma=1.0, gae_lambda=0.95)
    assert advantages.abs().max().item() == 0.0


def test_advantages_carry_no_gradient() -> None:
    values = torch.zeros(1, 3, requires_grad=True)
    advantages, returns = gae(torch.ones(1, 3), values, FULL, 1.0, 0.95)
    assert not advantages.requires_grad
    assert not returns.requires_grad


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="common shape"):
        gae(torch.zeros(1, 3), torch.zeros(1, 4), FULL, 1.0, 0.95)
    with pytest.raises(ValueError, match="bool"):
        gae(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3), 1.0, 0.95)
    with pytest.raises(ValueError, match="gae_lambda"):
        gae(torch.zeros(1, 3), torch.zeros(1, 3), FULL, 1.0, 95.0)


@pytest.mark.conformance("GAE past the end", equation="models.algorithms.gae:gae")
def test_gae_is_the_discounted_sum_of_td_errors_in_float64() -> None:
    """A_t = sum over k of (gamma lambda)^k delta_(t+k), summed up plainly; ragged rows, padding that is no number."""
    lengths = [5, 1, 6, 3]
    rewards, values, mask = _random(lengths)
    dirty = [torch.where(mask, x, torch.full_like(x, math.nan)) for x in (rewards, values)]
    advantages, returns = gae(*dirty, mask, gamma=0.93, gae_lambda=0.81)
    for row, length in enumerate(lengths):
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        errors = [r[t] + 0.93 * v[t + 1] - v[t] for t in range(length)]
        plain = [sum((0.93 * 0.81) ** (s - t) * errors[s] for s in range(t, length)) for t in range(length)]
        assert advantages[row, :length].tolist() == pytest.approx(plain, abs=1e-9)
        assert returns[row, :length].tolist() == pytest.approx(
            [a + b for a, b in zip(plain, v, strict=False)], abs=1e-9
        )


@given(LENGTHS, st.floats(0, 1), st.floats(0, 1), st.floats(-3, 3))
def test_advantages_are_linear_in_rewards_and_values(
    lengths: list[int], gamma: float, gae_lambda: float, factor: float
) -> None:
    rewards, values, mask = _random(lengths)
    once, _ = gae(rewards, values, mask, gamma, gae_lambda)
    scaled, _ = gae(factor * rewards, factor * values, mask, gamma, gae_lambda)
    torch.testing.assert_close(scaled, factor * once)
    of_rewards, _ = gae(rewards, 0 * values, mask, gamma, gae_lambda)
    of_values, _ = gae(0 * rewards, values, mask, gamma, gae_lambda)
    torch.testing.assert_close(of_rewards + of_values, once)


@given(LENGTHS, st.floats(0, 1), st.floats(0, 1))
def test_the_last_real_token_has_its_reward_less_its_value(lengths: list[int], gamma: float, gae_lambda: float) -> None:
    rewards, values, mask = _random(lengths)
    advantages, _ = gae(rewards, values, mask, gamma, gae_lambda)
    for row, length in enumerate(lengths):
        if length:
            assert advantages[row, length - 1] == rewards[row, length - 1] - values[row, length - 1]
