"""Reward models, through TRL's own training step."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, Trainer

from models.checkpoint import load_reward, reward_from_policy
from models.config import RewardConfig
from models.dialogue import Renderer
from models.scoring import last_token_scores, pad_right, score_rows
from models.training import reward as module
from models.training.reporting import Quiet, Reporter
from models.training.reward import Pair, train_reward
from tests.models.training.first_step import first_step, same_gradients
from tests.models.training.little_runs import LORA, Recorder, pairs

Build = Callable[[ModuleType, Callable[[], object]], Trainer]
SMALL_MARGINS = {"significantly_better": 1, "better": 2 / 3, "slightly_better": 1 / 3, "negligibly_better": 0}


def run(
    policy: Path,
    judged: list[Pair],
    renderer: Renderer,
    folder: Path,
    reporter: Reporter,
    *,
    safety: bool = False,
    **changes: Any,
) -> dict[str, float]:
    config = RewardConfig(
        **{"learning_rate": 5e-3, "batch_size": 4, "min_warmup_steps": 0, "max_length": 128, **changes}
    )
    model = reward_from_policy(policy, None, lora=None, seed=3)
    return train_reward(
        model, judged, renderer, config, safety=safety, out=folder / "out", work=folder / "work", seed=3,
        reporter=reporter,
    )  # fmt: skip


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def scores_alone(model: torch.nn.Module, judged: list[Pair]) -> list[tuple[float, float]]:
    """Chosen and rejected score of each pair, each read alone, without padding."""
    rows = [ids for pair in judged for ids in (pair.chosen_ids, pair.rejected_ids)]
    flat = [score_rows(model, [row], 3, 1)[0] for row in rows]
    return list(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("margins", "scale"), [("none", 0), ("small", 1), ("large", 3)])
@pytest.mark.conformance("margin", equation="models.training.reward:PairTrainer.compute_loss")
def test_the_loss_is_minus_log_sigmoid_of_the_difference_less_the_margin(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path, margins: str, scale: int
) -> None:
    judged = pairs(renderer)
    trainer = build(module, lambda: run(policy_folder, judged, renderer, tmp_path, Quiet(), margins=margins))
    expected = [
        softplus(-(chosen - rejected - scale * SMALL_MARGINS[pair.rating]))
        for pair, (chosen, rejected) in zip(judged, scores_alone(trainer.model, judged), strict=True)
    ]
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(sum(expected) / 4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.conformance("margin", equation="models.training.reward:PairTrainer.compute_loss")
def test_margin_none_equals_the_plain_loss_whatever_the_rating(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    judged = pairs(renderer)
    level = [replace(pair, rating="negligibly_better") for pair in judged]  # margin 0 in every scale
    none = first_step(build(module, lambda: run(policy_folder, judged, renderer, tmp_path, Quiet(), margins="none")))
    plain = first_step(build(module, lambda: run(policy_folder, level, renderer, tmp_path, Quiet(), margins="large")))
    assert none[0] == pytest.approx(plain[0], abs=1e-7)
    same_gradients(none[1], plain[1])


@pytest.mark.slow
@pytest.mark.conformance("safety auxiliary loss", equation="models.training.reward:PairTrainer.compute_loss")
def test_the_safety_loss_is_added_for_both_responses_of_labelled_pairs(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """Labels of the four pairs: both unsafe, both safe, chosen safe and other unsafe, none."""
    judged = pairs(renderer)
    changes = {"margins": "none", "safety_loss_coef": 0.5}
    trainer = build(module, lambda: run(policy_folder, judged, renderer, tmp_path, Quiet(), safety=True, **changes))
    scores = scores_alone(trainer.model, judged)
    ranking = sum(softplus(rejected - chosen) for chosen, rejected in scores)
    safety = (
        softplus(scores[0][0]) + softplus(scores[0][1])  # unsafe, unsafe
        + softplus(-scores[1][0]) + softplus(-scores[1][1])  # safe, safe
        + softplus(-scores[2][0]) + softplus(scores[2][1])  # safe, unsafe
    )  # fmt: skip
    loss, _ = first_step(trainer)
    assert loss == pytest.approx(ranking / 4 + 0.5 * safety / 8, abs=1e-5)


def with_a_long_prompt(judged: list[Pair]) -> list[Pair]:
    """A prompt of 40 tokens before both responses of each pair, another one for each pair."""
    return [
        replace(
            pair,
            chosen_ids=[1, *range(20 + i, 59 + i), *pair.chosen_ids[-6:]],
            rejected_ids=[1, *range(20 + i, 59 + i), *pair.rejected_ids[-4:]],
        )
        for i, pair in enumerate(judged)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kv_heads", ["mha", "gqa"])
def test_pairs_that_share_a_row_have_the_loss_and_gradients_of_separate_rows(
    build: Build, policy_folders: dict[str, Path], renderer: Renderer, tmp_path: Path, kv_heads: str
) -> None:
    judged = with_a_long_prompt(pairs(renderer))
    changes = {"margins": "large", "safety_loss_coef": 0.5}
    trainer = build(
        module, lambda: run(policy_folders[kv_heads], judged, renderer, tmp_path, Quiet(), safety=True, **changes)
    )
    rows = [pair.chosen_ids for pair in judged] + [pair.rejected_ids for pair in judged]
    chosen, rejected = last_token_scores(trainer.model, *pad_right(rows, 3)).chunk(2)
    margins = torch.tensor([3 * SMALL_MARGINS[pair.rating] for pair in judged])
    # labels: both unsafe, both safe, chosen safe and other unsafe, none
    safety = softplus_of([chosen[0], rejected[0], -chosen[1], -rejected[1], -chosen[2], rejected[2]]).sum()
    expected = softplus_of([*(rejected - chosen + margins)]).mean() + 0.5 * safety / 8
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    trainer.model.zero_grad(set_to_none=True)
    assert "places" in next(iter(trainer.get_train_dataloader()))  # the batch is laid out as trees
    loss, found = first_step(trainer)
    assert loss == pytest.approx(float(expected), abs=1e-5)
    same_gradients(gradients, found)


def softplus_of(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.softplus(torch.stack(values))


def test_pairs_that_share_too_little_have_a_row_for_each_response(
    build: Build, gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    judged = [
        replace(pair, chosen_ids=[1, *range(10 + 9 * i, 30 + 9 * i)], rejected_ids=[1, *range(70 + 9 * i, 85 + 9 * i)])
        for i, pair in enumerate(pairs(renderer))
    ]
    trainer = build(module, lambda: run(gqa_policy, judged, renderer, tmp_path, Quiet()))
    batch = next(iter(trainer.get_train_dataloader()))
    assert "places" not in batch
    assert len(batch["input_ids"]) == 8


@pytest.mark.slow
@pytest.mark.conformance("safety auxiliary loss", equation="models.training.reward:train_reward")
def test_the_helpfulness_model_ignores_safety_labels(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    judged = pairs(renderer)
    unlabelled = [replace(pair, safety_label=None) for pair in judged]
    found = [
        first_step(build(module, lambda rows=rows: run(policy_folder, rows, renderer, tmp_path, Quiet())))  # type: ignore[misc]
        for rows in (judged, unlabelled)
    ]
    assert found[0][0] == found[1][0]
    same_gradients(found[0][1], found[1][1])


@pytest.mark.slow
@pytest.mark.conformance("safety auxiliary loss", equation="models.training.reward:PairTrainer.compute_loss")
def test_the_safety_loss_lowers_unsafe_scores_even_where_both_are_unsafe(
    policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    """Ranking alone would push the chosen one up."""
    judged = [replace(pair, safety_label="both_unsafe") for pair in pairs(renderer)]
    after = {}
    for safety in (True, False):
        folder = tmp_path / str(safety)
        changes = {"epochs": 12, "margins": "none", "safety_loss_coef": 4.0}
        run(policy_folder, judged, renderer, folder, Quiet(), safety=safety, **changes)
        after[safety] = scores_alone(load_reward(folder / "out"), judged)
    assert all(chosen < 0 and rejected < 0 for chosen, rejected in after[True])
    assert all(chosen > 0 for chosen, _ in after[False])


@pytest.mark.slow
def test_it_learns_the_ranking_and_opens_in_plain_transformers(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    judged = pairs(renderer)
    metrics = run(gqa_policy, judged, renderer, tmp_path, recorder, epochs=12, margins="none")
    assert metrics["loss"] < 0.3 < math.log(2) < recorder.curve("reward/loss")[0] + 1e-6
    assert (metrics["pairs"], metrics["steps"]) == (4, 12)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    for pair in judged:
        with torch.no_grad():
            chosen, rejected = (
                plain(input_ids=torch.tensor([ids])).logits[0, 0] for ids in (pair.chosen_ids, pair.rejected_ids)
            )
        assert chosen > rejected


@pytest.mark.slow
def test_an_adapter_and_its_head_learn_alone(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    judged = pairs(renderer)
    model = reward_from_policy(gqa_policy, None, lora=LORA, seed=3)
    config = RewardConfig(learning_rate=1e-2, batch_size=4, epochs=12, min_warmup_steps=0, margins="none")
    train_reward(
        model, judged, renderer, config, safety=False, out=tmp_path / "out", work=tmp_path / "work", seed=3,
        reporter=Quiet(),
    )  # fmt: skip
    again = load_reward(tmp_path / "out", gqa_policy)
    assert all(chosen > rejected for chosen, rejected in scores_alone(again, judged))


@pytest.mark.slow
@pytest.mark.conformance(
    "accumulation normalised per micro-batch", equation="models.training.reward:PairTrainer.compute_loss"
)
def test_one_pass_over_sixteen_ragged_pairs_has_the_gradient_of_eight_passes_over_two(
    build: Build, policy_folder: Path, renderer: Renderer, tmp_path: Path
) -> None:
    four = pairs(renderer)
    judged = [
        replace(four[i % 4], chosen_ids=[*four[i % 4].chosen_ids[:-1], *[20 + i] * i, 2]) for i in range(16)
    ]  # every fourth pair has no safety label: they lie unevenly in the passes

    def built(steps: int) -> Trainer:
        changes = {"batch_size": 16, "accumulation_steps": steps}
        return build(module, lambda: run(policy_folder, judged, renderer, tmp_path, Quiet(), safety=True, **changes))

    loss, gradients = first_step(built(1))
    accumulated_loss, accumulated = first_step(built(8))
    assert accumulated_loss == pytest.approx(loss, abs=1e-5)
    same_gradients(gradients, accumulated)


@pytest.mark.conformance("margin", equation="models.training.reward:train_reward")
def test_a_long_pair_and_unknown_words_are_refused(gqa_policy: Path, renderer: Renderer, tmp_path: Path) -> None:
    judged = pairs(renderer)
    long = replace(judged[1], rejected_ids=[1, *[30] * 127, 2])
    with pytest.raises(ValueError, match=r"pair 2 has 129 tokens; reward\.max_length is 128"):
        run(gqa_policy, [judged[0], long], renderer, tmp_path, Quiet())
    with pytest.raises(ValueError, match="unknown safety label 'fine'"):
        run(gqa_policy, [replace(judged[0], safety_label="fine")], renderer, tmp_path, Quiet())
    with pytest.raises(ValueError, match="unknown rating 'great'"):
        run(gqa_policy, [replace(judged[0], rating="great")], renderer, tmp_path, Quiet())
