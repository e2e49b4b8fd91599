"""PPO losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.ppo import explained_variance, importance_weights, masked_mean, policy_loss, value_loss

TWO = torch.ones(1, 2, dtype=torch.bool)


def test_policy_loss_by_hand_on_all_four_sides_of_the_clip() -> None:
    ratios = torch.tensor([[1.5, 0.5, 1.5, 0.5, 1.1]])
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, 2.0]])
    loss, stats = policy_loss(ratios.log(), torch.zeros(1, 5), advantages, torch.ones(1, 5).bool(), clip_range=0.2)
    # min(r A, clip(r) A): 1.2, .5, -1.5, -.8, 2.2; their mean is 1.6 / 5.
    assert loss.item() == pytest.approx(-1.6 / 5)
    assert stats["clip_fraction"].item() == pytest.approx(2 / 5)
    assert stats["ratio_max"].item() == pytest.approx(1.5)
    assert stats["ratio_mean"].item() == pytest.approx(5.1 / 5)
    by_hand = sum(r - 1 - math.log(r) for r in (1.5, 0.5, 1.5, 0.5, 1.1)) / 5
    assert stats["approx_kl"].item() == pytest.approx(by_hand, abs=1e-6)


def test_policy_loss_has_no_gradient_where_the_clip_acts() -> None:
    logprobs = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).log().requires_grad_()
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    policy_loss(logprobs, torch.zeros(1, 4), advantages, torch.ones(1, 4).bool(), 0.2)[0].backward()
    assert logprobs.grad is not None
    # d/dlogp of -r A / 4 is -r A / 4; the first and the last token are clipped.
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0.0, -0.5 / 4, 1.5 / 4, 0.0]]))


def test_at_ratio_1_the_loss_is_minus_the_mean_advantage_and_nothing_is_clipped() -> None:
    logprobs = -torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    advantages = torch.arange(12.0).view(3, 4)
    loss, stats = policy_loss(logprobs, logprobs, advantages, torch.ones(3, 4).bool(), 0.2)
    assert loss.item() == pytest.approx(-5.5)
    assert stats["clip_fraction"].item() == 0
    assert stats["approx_kl"].item() == 0


@given(st.floats(width=32))
def test_padding_never_reaches_the_losses_or_their_gradients(junk: float) -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    generator = torch.Generator().manual_seed(2)
    tensors = torch.randn(3, 2, 3, generator=generator)
    dirty = torch.where(mask, tensors, torch.full_like(tensors, junk))
    results = []
    for source in (tensors, dirty):
        first = source[0].clone().requires_grad_()
        loss, stats = policy_loss(first, source[1], source[2], mask, 0.2)
        (policy_gradient,) = torch.autograd.grad(loss, first)
        second = source[0].clone().requires_grad_()
        error = value_loss(second, source[1], source[2], mask, 0.2)
        (value_gradient,) = torch.autograd.grad(error, second)
        results.append([loss, error, *stats.values(), policy_gradient, value_gradient])
        assert policy_gradient[~mask].eq(0).all()
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.conformance("accumulation normalised per micro-batch", equation="models.algorithms.ppo:masked_mean")
def test_accumulation_with_the_batch_denominator_1x16_equals_8x2_with_ragged_lengths() -> None:
    generator = torch.Generator().manual_seed(4)
    logprobs, old_logprobs, advantages = torch.randn(3, 16, 9, generator=generator, dtype=torch.float64)
    mask = torch.arange(9)[None] < torch.randint(1, 10, (16, 1), generator=generator)
    whole = logprobs.clone().requires_grad_()
    policy_loss(whole, old_logprobs, advantages, mask, 0.2)[0].backward()
    parts = logprobs.clone().requires_grad_()
    tokens = int(mask.sum())
    for rows in torch.arange(16).split(2):
        loss, _ = policy_loss(parts[rows], old_logprobs[rows], advantages[rows], mask[rows], 0.2, denominator=tokens)
        loss.backward()
    assert whole.grad is not None
    torch.testing.assert_close(parts.grad, whole.grad)


@pytest.mark.conformance("value head start", equation="models.algorithms.ppo:value_loss")
def test_value_loss_by_hand_with_and_without_clip() -> None:
    values, old_values, returns = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.1]]), torch.tensor([[3.0, 1.0]])
    # Plain: (1, 1). Clipped at .5: V = 1.5 and 0, errors 2.25 and 1; the worse is taken.
    assert value_loss(values, old_values, returns, TWO, None).item() == pytest.approx(0.5)
    assert value_loss(values, old_values, returns, TWO, 0.5).item() == pytest.approx(0.5 * (2.25 + 1) / 2)
    # Clipping towards a better value changes nothing: V = 2 overshoots the return 1, its clip 1.5 is nearer.
    ones = torch.ones(1, 2)
    assert value_loss(2 * ones, ones, ones, TWO, 0.5).item() == pytest.approx(0.5)


def test_masked_mean_by_hand_and_with_a_denominator() -> None:
    x, mask = torch.tensor([[1.0, 2.0], [3.0, math.nan]]), torch.tensor([[True, True], [True, False]])
    assert masked_mean(x, mask).item() == 2.0
    assert masked_mean(x, mask, denominator=12).item() == 0.5


def test_the_mean_of_nothing_is_refused() -> None:
    x, empty = torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="False everywhere"):
        masked_mean(x, empty)
    with pytest.raises(ValueError, match="False everywhere"):
        policy_loss(x, x, x, empty, 0.2)


@pytest.mark.parametrize("denominator", [0, -1.0, math.nan])
def test_a_denominator_that_is_not_positive_is_refused(denominator: float) -> None:
    with pytest.raises(ValueError, match="denominator"):
        masked_mean(torch.zeros(2), torch.ones(2).bool(), denominator)


def test_wrong_shapes_masks_and_ranges_are_refused() -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="common shape"):
        policy_loss(x, x, torch.zeros(1), TWO, 0.2)
    with pytest.raises(ValueError, match="bool"):
        policy_loss(x, x, x, TWO.long(), 0.2)
    with pytest.raises(ValueError, match="clip_range"):
        policy_loss(x, x, x, TWO, 0.0)
    with pytest.raises(ValueError, match="value_clip_range"):
        value_loss(x, x, x, TWO, 0.0)


@pytest.mark.conformance("value head start", equation="models.algorithms.ppo:value_loss")
def test_policy_and_value_loss_in_float64_by_hand() -> None:
    """Ragged rows, token by token in Python's own floats; padding holds what is no number."""
    generator = torch.Generator().manual_seed(8)
    mask = torch.arange(5)[None] < torch.tensor([[5], [2], [4]])
    drawn = torch.randn(6, 3, 5, generator=generator, dtype=torch.float64)
    dirty = torch.where(mask, drawn, torch.full_like(drawn, math.nan))
    logprobs, old_logprobs, advantages, values, old_values, returns = dirty
    policy_terms, value_terms, clipped = [], [], []
    for row, t in mask.nonzero().tolist():
        new, old, advantage, value, before, target = drawn[:, row, t].tolist()
        ratio = math.exp(new - old)
        bounded = min(max(ratio, 0.8), 1.2)
        policy_terms.append(-min(ratio * advantage, bounded * advantage))
        clipped.append(bounded * advantage < ratio * advantage)
        near = before + min(max(value - before, -0.4), 0.4)
        value_terms.append(0.5 * max((value - target) ** 2, (near - target) ** 2))
    assert 0 < sum(clipped) < 11
    loss, stats = policy_loss(logprobs, old_logprobs, advantages, mask, 0.2)
    assert loss.item() == pytest.approx(sum(policy_terms) / 11, abs=1e-9)
    assert stats["clip_fraction"].item() == pytest.approx(sum(clipped) / 11, abs=1e-9)
    assert value_loss(values, old_values, returns, mask, 0.4).item() == pytest.approx(sum(value_terms) / 11, abs=1e-9)


@given(st.floats(-1, 1), st.floats(-2, 2), st.floats(0.05, 0.5))
def test_the_clip_never_makes_the_loss_smaller_and_never_acts_within_its_range(
    log_ratio: float, advantage: float, clip_range: float
) -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    loss, stats = policy_loss(log_ratio * one, 0 * one, advantage * one, one.bool(), clip_range)
    plain = -math.exp(log_ratio) * advantage
    assert loss.item() >= plain - 1e-12
    if abs(math.exp(log_ratio) - 1) < clip_range:
        assert loss.item() == pytest.approx(plain)
        assert stats["clip_fraction"].item() == 0


def test_the_explained_variance_by_hand() -> None:
    """Returns 1, 3 (variance 1): values that know them, a mean for both, and their opposite. A constant error costs
    nothing: it is no variance."""
    returns = torch.tensor([1.0, 3.0])
    for values, share in (([1.0, 3.0], 1.0), ([2.0, 2.0], 0.0), ([3.0, 1.0], -3.0), ([6.0, 8.0], 1.0)):
        assert float(explained_variance(torch.tensor(values), returns)) == share
    assert float(explained_variance(torch.tensor([2.0, 2.0]), torch.tensor([5.0, 5.0]))) == 1.0, "nothing to know"


def test_weights_of_another_engine_by_hand() -> None:
    """Drawn at half, at twice and at a tenth of the learner's probability: 2 is the cap, and what was drawn too often
    counts less."""
    learner = torch.tensor([[0.5, 0.25, 0.5, 0.3]]).log().requires_grad_()
    sampler = torch.tensor([[0.25, 0.5, 0.05, 0.3]]).log()
    weights = importance_weights(learner, sampler, cap=2.0)
    torch.testing.assert_close(weights, torch.tensor([[2.0, 0.5, 2.0, 1.0]]))
    assert not weights.requires_grad
    with pytest.raises(ValueError, match="cap must be more than 0"):
        importance_weights(learner, sampler, cap=0.0)


def test_a_weighted_advantage_is_the_weighted_clipped_loss_of_its_token() -> None:
    new, old = torch.tensor([[0.3, -0.5, 0.1]]), torch.zeros(1, 3)
    advantages, mask = torch.tensor([[2.0, -1.0, 0.5]]), torch.ones(1, 3).bool()
    weights = torch.tensor([[0.5, 2.0, 1.5]])
    alone = [policy_loss(new[:, [i]], old[:, [i]], advantages[:, [i]], mask[:, [i]], 0.2)[0] for i in range(3)]
    together, _ = policy_loss(new, old, weights * advantages, mask, 0.2)
    torch.testing.assert_close(together, (weights[0] * torch.stack(alone)).mean())
