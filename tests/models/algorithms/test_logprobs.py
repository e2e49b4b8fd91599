"""Token log-probabilities and entropies."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms import logprobs as logprobs_module
from models.algorithms.logprobs import token_entropy, token_logprobs


def test_log_probability_by_hand_at_two_temperatures() -> None:
    # Logits ln 1, ln 4, ln 4: probabilities 1/9, 4/9, 4/9; at T = 2 they become 1, 2, 2 over 5.
    logits = torch.tensor([1.0, 4.0, 4.0]).log().expand(1, 2, 3)
    ids = torch.tensor([[0, 2]])
    assert token_logprobs(logits, ids, 1.0)[0].tolist() == pytest.approx([math.log(1 / 9), math.log(4 / 9)])
    assert token_logprobs(logits, ids, 2.0)[0].tolist() == pytest.approx([math.log(1 / 5), math.log(2 / 5)])


@given(st.floats(0.1, 3.0))
def test_probabilities_over_the_vocabulary_add_up_to_one(temperature: float) -> None:
    logits = torch.randn(1, 1, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    each = token_logprobs(logits.expand(1, 5, 5), torch.arange(5)[None], temperature)
    assert each.exp().sum().item() == pytest.approx(1.0)


@pytest.mark.conformance(
    "sampling temperature against scoring temperature", equation="models.algorithms.logprobs:token_logprobs"
)
def test_first_epoch_ratio_is_1_at_temperature_1_3_and_not_if_the_temperature_is_forgotten() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(4, 6, 50, generator=generator)
    probabilities = torch.softmax(logits / 1.3, dim=-1)
    ids = torch.multinomial(probabilities.view(-1, 50), 1, generator=generator).view(4, 6)
    sampled = probabilities.gather(-1, ids[..., None])[..., 0].log()
    ratio = (token_logprobs(logits, ids, 1.3) - sampled).exp()
    assert (ratio - 1).abs().max().item() < 1e-4
    forgotten = (token_logprobs(logits, ids, 1.0) - sampled).exp()
    assert (forgotten - 1).abs().max().item() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_change_neither_values_nor_gradients(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 11, (3, 7), generator=generator)
    logits = torch.randn(3, 7, 11, generator=generator).to(dtype)

    def run() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        leaf = logits.clone().requires_grad_()
        values, entropies = token_logprobs(leaf, ids, 0.7), token_entropy(leaf)
        (by_logprob,) = torch.autograd.grad(values.square().sum(), leaf)
        (by_entropy,) = torch.autograd.grad(entropies.square().sum(), leaf)
        return values, entropies, by_logprob, by_entropy

    whole = run()
    monkeypatch.setattr(logprobs_module, "_CHUNK_ELEMENTS", 4 * 11)
    for ours, theirs in zip(run(), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_gradient_of_a_log_probability_is_one_hot_minus_probability() -> None:
    logits = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(7), requires_grad=True)
    token_logprobs(logits, torch.tensor([[2]]), 1.0).sum().backward()
    expected = torch.eye(4)[2] - torch.softmax(logits.detach()[0, 0], dim=-1)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, 0], expected)


@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_gradients_agree_with_finite_differences(temperature: float) -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[0, 4, 2], [3, 3, 1]])
    assert torch.autograd.gradcheck(lambda x: token_logprobs(x, ids, temperature), (logits,))
    assert torch.autograd.gradcheck(token_entropy, (logits,))


def test_a_ruled_out_token_gives_minus_infinity_and_others_a_finite_gradient() -> None:
    logits = torch.tensor([[[0.0, -math.inf, 0.0], [0.0, -math.inf, 0.0]]], requires_grad=True)
    values = token_logprobs(logits, torch.tensor([[1, 2]]), 1.0)
    assert values.tolist()[0] == pytest.approx([-math.inf, -math.log(2)])
    values[0, 1].backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].tolist() == pytest.approx([-0.5, 0.0, 0.5])


def test_no_token_at_all_gives_no_log_probability() -> None:
    assert token_logprobs(torch.zeros(0, 3, 5), torch.zeros(0, 3, dtype=torch.int64), 1.0).shape == (0, 3)


def test_bfloat16_logits_are_reduced_in_float32() -> None:
    logits = torch.zeros(1, 1, 1000, dtype=torch.bfloat16)
    value = token_logprobs(logits, torch.zeros(1, 1, dtype=torch.int64), 1.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(-math.log(1000), abs=1e-5)


def test_entropy_by_hand_uniform_and_certain() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, -math.inf, 0.0, -math.inf], [1e4, 0.0, 0.0, 0.0]])
    assert token_entropy(logits).tolist() == pytest.approx([math.log(4), math.log(2), 0.0], abs=1e-6)


def test_entropy_gradient_is_finite_where_a_token_is_ruled_out() -> None:
    logits = torch.tensor([[0.5, -math.inf, 2.0]], requires_grad=True)
    token_entropy(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max().item() > 0.01


def test_wrong_arguments_are_refused() -> None:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(B, T, V\)"):
        token_logprobs(torch.zeros(2, 4, 5), ids, 1.0)
    with pytest.raises(ValueError, match="temperature"):
        token_logprobs(torch.zeros(2, 3, 5), ids, 0.0)
    with pytest.raises(ValueError, match="int64"):
        token_logprobs(torch.zeros(2, 3, 5), ids.float(), 1.0)
