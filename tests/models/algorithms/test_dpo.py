"""Direct preference optimisation."""

import math

import pytest
import torch

from models.algorithms.dpo import chosen_nll, dpo_loss


def _tensors(*numbers: float) -> list[torch.Tensor]:
    return [torch.tensor([number], dtype=torch.float64) for number in numbers]


def test_dpo_loss_and_implicit_rewards_by_hand() -> None:
    # Chosen log-ratio 2, rejected log-ratio -1, beta = ln 3 / 3: beta h = ln 3, sigmoid = 3/4.
    beta = math.log(3) / 3
    loss, chosen_rewards, rejected_rewards = dpo_loss(*_tensors(-3.0, -6.0, -5.0, -5.0), beta=beta)
    assert loss.item() == pytest.approx(math.log(4 / 3))
    assert chosen_rewards.item() == pytest.approx(2 * beta)
    assert rejected_rewards.item() == pytest.approx(-beta)


def test_label_smoothing_mixes_in_the_flipped_label() -> None:
    beta = math.log(3) / 3
    loss = dpo_loss(*_tensors(-3.0, -6.0, -5.0, -5.0), beta=beta, label_smoothing=0.25).loss
    assert loss.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_a_policy_equal_to_its_reference_costs_ln_2() -> None:
    assert dpo_loss(*_tensors(-3.0, -6.0, -3.0, -6.0), beta=0.1).loss.item() == pytest.approx(math.log(2))


def test_gradient_raises_the_chosen_and_lowers_the_rejected_by_the_weight_of_equation_7() -> None:
    chosen, rejected, ref_chosen, ref_rejected = _tensors(-3.0, -6.0, -5.0, -5.0)
    chosen.requires_grad_()
    rejected.requires_grad_()
    result = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=0.5)
    result.loss.sum().backward()
    weight = 0.5 / (1 + math.exp(1.5))  # beta * sigmoid(-beta h), h = 3
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() == pytest.approx(-weight)
    assert rejected.grad.item() == pytest.approx(weight)
    assert not result.chosen_rewards.requires_grad


def test_extreme_log_ratios_stay_finite() -> None:
    assert dpo_loss(*_tensors(-1e5, 0.0, 0.0, -1e5), beta=0.5).loss.item() == pytest.approx(1e5)


def test_wrong_arguments_are_refused() -> None:
    tensors = _tensors(0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="beta"):
        dpo_loss(*tensors, beta=0.0)
    with pytest.raises(ValueError, match="label_smoothing"):
        dpo_loss(*tensors, beta=0.1, label_smoothing=0.5)
    with pytest.raises(ValueError, match="ref_rejected_logprobs"):
        dpo_loss(*tensors[:3], torch.zeros(2), beta=0.1)


def test_the_likelihood_of_the_chosen_is_averaged_over_its_own_tokens() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -6.0], [-4.0, -9.0, -9.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert chosen_nll(logprobs, mask).tolist() == [3.0, 4.0]


def test_padding_has_no_gradient_and_a_row_without_a_token_is_refused() -> None:
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    chosen_nll(logprobs, torch.tensor([[True, False]])).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.0, 0.0]]
    with pytest.raises(ValueError, match=r"rows \[0\] have no response token"):
        chosen_nll(logprobs, torch.tensor([[False, False]]))
