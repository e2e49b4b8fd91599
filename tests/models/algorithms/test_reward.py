"""The combined reward and whitening."""

import math
import random
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.kl import penalize_kl
from models.algorithms.reward import combine_rewards, truncate_rewards, whiten

NUMBERS = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=12)


@pytest.mark.conformance("order of Llama 2's reward", equation="models.algorithms.reward:combine_rewards")
def test_order_of_the_reward_sigmoid_choose_logit_whiten_then_kl_by_hand() -> None:
    # Safety probabilities .1, .9, .9, .2; helpfulness scores 2, -1, 4, 0; the third prompt is a safety prompt.
    safety = torch.logit(torch.tensor([0.1, 0.9, 0.9, 0.2], dtype=torch.float64))
    helpfulness = torch.tensor([2.0, -1.0, 4.0, 0.0], dtype=torch.float64)
    is_safety_prompt = torch.tensor([False, False, True, False])
    combined = combine_rewards(safety, helpfulness, is_safety_prompt)
    # .1 < .15 takes safety: ln(1/9); .9 takes helpfulness -1; the safety prompt takes safety: ln 9; .2 takes 0.
    log9 = math.log(9)
    assert combined.tolist() == pytest.approx([-log9, -1.0, log9, 0.0])
    # Mean -1/4; squares (log9 - 1/4)^2, (3/4)^2, (log9 + 1/4)^2, (1/4)^2.
    std = math.sqrt(((log9 - 0.25) ** 2 + 0.75**2 + (log9 + 0.25) ** 2 + 0.25**2) / 4)
    whitened = whiten(combined)
    by_hand = [(0.25 - log9) / std, -0.75 / std, (log9 + 0.25) / std, 0.25 / std]
    assert whitened.tolist() == pytest.approx(by_hand)
    # One token each, k1 = .5 nats, kl_coef .2: the penalty comes after the whitening and is not scaled by it.
    one_token = torch.ones(4, 1, dtype=torch.bool)
    rewards = penalize_kl(whitened, torch.full((4, 1), -1.0), torch.full((4, 1), -1.5), one_token, kl_coef=0.2)
    assert rewards.flatten().tolist() == pytest.approx([value - 0.1 for value in by_hand])


@given(safety=st.floats(-15, 15), helpfulness=st.floats(-15, 15), tagged=st.booleans())
@pytest.mark.conformance("order of Llama 2's reward", equation="models.algorithms.reward:combine_rewards")
def test_choice_equals_the_papers_text_with_the_sigmoid_taken(safety: float, helpfulness: float, tagged: bool) -> None:
    r_s, r_h = 1 / (1 + math.exp(-safety)), 1 / (1 + math.exp(-helpfulness))
    if abs(r_s - 0.15) < 1e-9:
        return
    r_c = r_s if tagged or r_s < 0.15 else r_h
    scores = torch.tensor([safety], dtype=torch.float64), torch.tensor([helpfulness], dtype=torch.float64)
    combined = combine_rewards(*scores, torch.tensor([tagged]))
    assert combined.item() == pytest.approx(math.log(r_c / (1 - r_c)), abs=1e-6)


@pytest.mark.conformance("order of Llama 2's reward", equation="models.algorithms.reward:combine_rewards")
def test_threshold_sits_at_the_logit_of_15_percent() -> None:
    edge = math.log(0.15 / 0.85)
    combined = combine_rewards(
        torch.tensor([edge - 1e-3, edge + 1e-3]), torch.tensor([7.0, 7.0]), torch.zeros(2).bool()
    )
    assert combined.tolist() == pytest.approx([edge - 1e-3, 7.0])


@pytest.mark.parametrize("score", [100.0, -100.0, 1e30])
@pytest.mark.conformance("logit of a score of 0 or 1", equation="models.algorithms.reward:combine_rewards")
def test_logit_of_a_score_of_0_or_1_is_finite(score: float) -> None:
    combined = combine_rewards(torch.tensor([score]), torch.tensor([score]), torch.tensor([False]))
    assert combined.item() == pytest.approx(score)
    assert math.isfinite(whiten(torch.stack([combined[0], torch.tensor(0.0)]))[0].item())


@pytest.mark.conformance("logit of a score of 0 or 1", equation="models.algorithms.reward:combine_rewards")
def test_infinite_scores_are_compared_and_passed_on_without_nan() -> None:
    scores = torch.tensor([math.inf, -math.inf])
    assert combine_rewards(scores, torch.tensor([1.0, 1.0]), torch.zeros(2).bool()).tolist() == [1.0, -math.inf]


def test_a_nan_score_is_refused_not_taken_for_safe() -> None:
    with pytest.raises(ValueError, match=r"safety_scores is NaN in rows \[1\]"):
        combine_rewards(torch.tensor([0.0, math.nan]), torch.zeros(2), torch.zeros(2).bool())


def test_threshold_zero_leaves_only_the_tag() -> None:
    combined = combine_rewards(torch.tensor([-50.0, -50.0]), torch.ones(2), torch.tensor([True, False]), threshold=0.0)
    assert combined.tolist() == [-50.0, 1.0]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_threshold_must_be_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        combine_rewards(torch.zeros(1), torch.zeros(1), torch.tensor([True]), threshold)


def test_whiten_by_hand() -> None:
    # Mean 3, deviations -2, 0, 2, population variance 8/3.
    deviation = 2 / math.sqrt(8 / 3)
    assert whiten(torch.tensor([1.0, 3.0, 5.0])).tolist() == pytest.approx([-deviation, 0, deviation])
    kept = whiten(torch.tensor([1.0, 3.0, 5.0]), shift_mean=False)
    assert kept.tolist() == pytest.approx([3 - deviation, 3, 3 + deviation])


@given(NUMBERS)
@pytest.mark.conformance("whitening over padding, or not centred", equation="models.algorithms.reward:whiten")
def test_whitened_mean_is_0_when_centring_is_asked_and_kept_when_not(numbers: list[float]) -> None:
    x = torch.tensor(numbers, dtype=torch.float64)
    assert whiten(x).mean().item() == pytest.approx(0.0, abs=1e-6)
    assert whiten(x, shift_mean=False).mean().item() == pytest.approx(x.mean().item(), abs=1e-6)


@given(NUMBERS, st.floats(allow_nan=True, allow_infinity=True))
@pytest.mark.conformance("whitening over padding, or not centred", equation="models.algorithms.reward:whiten")
def test_whitening_is_blind_to_appended_padding(numbers: list[float], padding: float) -> None:
    x = torch.tensor([numbers], dtype=torch.float64)
    padded = torch.cat([x, torch.full((1, 3), padding, dtype=torch.float64)], dim=1)
    mask = torch.arange(padded.shape[1])[None] < x.shape[1]
    for shift_mean in (True, False):
        out = whiten(padded, mask, shift_mean)
        assert torch.equal(out[:, : x.shape[1]], whiten(x, shift_mean=shift_mean))
        assert out[:, x.shape[1] :].tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("value", [0.1, 1e3, -7.7])
def test_equal_rewards_whiten_to_exact_zeros_not_to_noise(value: float) -> None:
    assert whiten(torch.full((7,), value)).tolist() == [0.0] * 7


def test_min_std_floors_sigma_and_does_not_touch_a_larger_one() -> None:
    assert whiten(torch.tensor([-0.1, 0.1]), min_std=1.0).tolist() == pytest.approx([-0.1, 0.1])
    assert whiten(torch.tensor([-4.0, 4.0]), min_std=1.0).tolist() == pytest.approx([-1, 1])


def test_whitening_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="False everywhere"):
        whiten(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))


def test_whiten_refuses_a_mask_of_another_shape_or_type() -> None:
    with pytest.raises(ValueError, match="shape"):
        whiten(torch.ones(2, 2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="bool"):
        whiten(torch.ones(2), torch.ones(2))


@pytest.mark.conformance("whitening over padding, or not centred", equation="models.algorithms.reward:whiten")
def test_whitening_in_float64_by_hand_with_padding() -> None:
    x = torch.tensor([[0.5, -2.25, math.nan], [7.0, 1e9, -1e9], [3.125, 0.0, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    real = [0.5, -2.25, 7.0, 3.125, 0.0, 1.0]
    mean = sum(real) / 6
    std = math.sqrt(sum((number - mean) ** 2 for number in real) / 6)
    assert whiten(x, mask)[mask].tolist() == pytest.approx([(number - mean) / std for number in real], abs=1e-12)
    kept = whiten(x, mask, shift_mean=False)
    assert kept[mask].tolist() == pytest.approx([(number - mean) / std + mean for number in real], abs=1e-12)
    assert kept[~mask].tolist() == [0.0, 0.0, 0.0]


@given(NUMBERS, st.floats(0.1, 10), st.floats(-10, 10), st.randoms(use_true_random=False))
@pytest.mark.conformance("whitening over padding, or not centred", equation="models.algorithms.reward:whiten")
def test_whitening_forgets_scale_shift_and_order(
    numbers: list[float], scale: float, shift: float, shuffle: random.Random
) -> None:
    x = torch.tensor(numbers, dtype=torch.float64)
    if x.std(unbiased=False) < 1e-3:
        return
    order = list(range(len(numbers)))
    shuffle.shuffle(order)
    torch.testing.assert_close(whiten(scale * x + shift), whiten(x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(whiten(x[order]), whiten(x)[order], atol=1e-9, rtol=1e-9)


@pytest.mark.conformance(
    "reward on the wrong position, truncated responses", equation="models.algorithms.reward:truncate_rewards"
)
@pytest.mark.parametrize(
    ("truncated", "expected"),
    [
        ("lowest", [2.0, -1.0, -1.0, -3.0]),  # the lowest of the finished ones is -1: 5 comes down to it, -3 stays
        ("own", [2.0, -1.0, 5.0, -3.0]),
        (-7.5, [2.0, -1.0, -7.5, -7.5]),
        (0.0, [2.0, -1.0, 0.0, 0.0]),
    ],
)
def test_what_a_cut_answer_gets_by_hand(truncated: float | Literal["lowest", "own"], expected: list[float]) -> None:
    scores, finished = torch.tensor([2.0, -1.0, 5.0, -3.0]), torch.tensor([True, True, False, False])
    assert truncate_rewards(scores, finished, truncated).tolist() == expected


@given(scores=NUMBERS, cut=st.sets(st.integers(0, 11)))
def test_with_lowest_no_cut_answer_is_above_a_finished_one_and_finished_ones_keep_theirs(
    scores: list[float], cut: set[int]
) -> None:
    finished = torch.tensor([i not in cut for i in range(len(scores))])
    before = torch.tensor(scores)
    after = truncate_rewards(before, finished, "lowest")
    assert torch.equal(after[finished], before[finished])
    if finished.any() and not finished.all():
        assert after[~finished].max() <= after[finished].min()
    assert (after <= before).all()


def test_where_every_answer_was_cut_lowest_leaves_all_as_they_are() -> None:
    scores = torch.tensor([1.0, -2.0])
    assert torch.equal(truncate_rewards(scores, torch.tensor([False, False]), "lowest"), scores)


def test_a_batch_without_cut_answers_is_as_it_was_whatever_is_configured() -> None:
    scores, finished = torch.tensor([1.0, -2.0]), torch.tensor([True, True])
    for truncated in ("lowest", "own", -9.0):
        assert torch.equal(truncate_rewards(scores, finished, truncated), scores)  # type: ignore[arg-type]


def test_finished_must_be_a_mask_of_the_batch() -> None:
    with pytest.raises(ValueError, match="finished"):
        truncate_rewards(torch.zeros(2), torch.zeros(2), "lowest")
    with pytest.raises(ValueError, match="finished"):
        truncate_rewards(torch.zeros(2), torch.zeros(3, dtype=torch.bool), "lowest")
