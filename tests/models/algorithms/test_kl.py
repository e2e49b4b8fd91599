"""KL estimators and the KL-penalised reward."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.kl import kl_k1, kl_k3, penalize_kl


@pytest.mark.conformance("k1 / k3 confused", equation="models.algorithms.kl:kl_k1")
def test_mean_of_k1_and_of_k3_approaches_the_exact_kl_of_a_10_token_categorical() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.log_softmax(torch.randn(2, 10, generator=generator, dtype=torch.float64), dim=-1)
    exact = (policy.exp() * (policy - reference)).sum().item()
    sampled = torch.multinomial(policy.exp(), 200_000, replacement=True, generator=generator)
    for estimator in (kl_k1, kl_k3):
        estimates = estimator(policy[sampled], reference[sampled])
        standard_error = estimates.std().item() / math.sqrt(len(sampled))
        assert abs(estimates.mean().item() - exact) < 4 * standard_error
        assert standard_error < 0.02 * exact
        # And without sampling: the expectation under the policy is the KL.
        assert (policy.exp() * estimator(policy, reference)).sum().item() == pytest.approx(exact)


@pytest.mark.conformance("k1 / k3 confused", equation="models.algorithms.kl:kl_k3")
def test_k1_and_k3_by_hand_are_not_confused() -> None:
    # The policy gives 1/2 to a token that the reference gives 1/4: r = 1/2.
    logprobs, ref_logprobs = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert kl_k1(logprobs, ref_logprobs).item() == pytest.approx(math.log(2))
    assert kl_k3(logprobs, ref_logprobs).item() == pytest.approx(0.5 - 1 + math.log(2))
    assert kl_k1(ref_logprobs, logprobs).item() == pytest.approx(-math.log(2))
    assert kl_k3(ref_logprobs, logprobs).item() == pytest.approx(2 - 1 - math.log(2))


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative(logprob: float, ref_logprob: float) -> None:
    k3 = kl_k3(torch.tensor([logprob], dtype=torch.float64), torch.tensor([ref_logprob], dtype=torch.float64))
    assert k3.item() >= 0


@pytest.mark.conformance("k1 / k3 confused", equation="models.algorithms.kl:penalize_kl")
@pytest.mark.conformance(
    "reward on the wrong position, truncated responses", equation="models.algorithms.kl:penalize_kl"
)
def test_k1_goes_into_the_reward_and_the_score_lands_on_the_last_real_token() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -0.5], [-1.0, -3.0, -9.0]])
    ref_logprobs = torch.tensor([[-2.0, -1.0, -0.5], [-1.5, -2.0, 5.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    rewards = penalize_kl(torch.tensor([2.0, -4.0]), logprobs, ref_logprobs, mask, kl_coef=0.1)
    # Row 0: k1 = 1, -1, 0. Row 1: k1 = .5, -1, and a padded position that counts for nothing.
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, 0.1, 2.0], [-0.05, -3.9, 0.0]]))


def test_left_padding_moves_nothing() -> None:
    mask = torch.tensor([[False, False, True, True]])
    logprobs = torch.tensor([[math.nan, math.inf, -1.0, -2.0]])
    ref_logprobs = torch.tensor([[0.0, 0.0, -2.0, -2.5]])
    rewards = penalize_kl(torch.tensor([1.0]), logprobs, ref_logprobs, mask, kl_coef=1.0)
    assert rewards.tolist() == [[0.0, 0.0, -1.0, 0.5]]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.floats(0, 1))
@pytest.mark.conformance(
    "reward on the wrong position, truncated responses", equation="models.algorithms.kl:penalize_kl"
)
def test_rewards_of_a_response_add_up_to_score_minus_kl(lengths: list[int], kl_coef: float) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    rows, width = len(lengths), 6
    logprobs, ref_logprobs = -torch.rand(2, rows, width, generator=generator, dtype=torch.float64)
    scores = torch.randn(rows, generator=generator, dtype=torch.float64)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    rewards = penalize_kl(scores, logprobs, ref_logprobs, mask, kl_coef)
    kl = ((logprobs - ref_logprobs) * mask).sum(dim=1)
    torch.testing.assert_close(rewards.sum(dim=1), scores - kl_coef * kl)
    assert rewards[~mask].eq(0).all()


def test_a_response_without_a_token_is_refused() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match=r"rows \[1\] have no response token"):
        penalize_kl(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), mask, 0.1)


def test_shapes_are_not_broadcast() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\)"):
        penalize_kl(torch.zeros(2, 1), torch.zeros(2, 3), torch.zeros(2, 3), mask, 0.1)
    with pytest.raises(ValueError, match="common shape"):
        penalize_kl(torch.zeros(2), torch.zeros(2, 3), torch.zeros(1, 3), mask, 0.1)
    with pytest.raises(ValueError, match="one shape"):
        kl_k1(torch.zeros(3), torch.zeros(1))
    with pytest.raises(ValueError, match="one shape"):
        kl_k3(torch.zeros(3), torch.zeros(1))


@given(st.floats(-20, 0), st.floats(-20, 0))
@pytest.mark.conformance("k1 / k3 confused", equation="models.algorithms.kl:kl_k3")
def test_k1_has_the_sign_of_the_log_ratio_and_k3_is_0_only_where_both_agree(logprob: float, ref_logprob: float) -> None:
    ours, theirs = torch.tensor([[logprob], [ref_logprob]], dtype=torch.float64)
    k1, k3 = kl_k1(ours, theirs).item(), kl_k3(ours, theirs).item()
    assert math.copysign(1, k1) == math.copysign(1, logprob - ref_logprob)
    assert k1 == -kl_k1(theirs, ours).item()
    if abs(logprob - ref_logprob) > 1e-6:
        assert k3 > 0
    if logprob == ref_logprob:
        assert k1 == k3 == 0
