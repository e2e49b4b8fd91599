"""What PPO answered at its looks at validation prompts is kept, as it was measured."""

import json
import statistics
from pathlib import Path

import pytest
import torch

from models.training.ppo_looks import keep_look, looks_below
from tests.models.training.little_runs import Recorder, renderer_of, run_ppo

MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_a_look_keeps_the_real_tokens_and_the_sum_of_their_log_ratios(tmp_path: Path) -> None:
    ids = [[5, 6, 2], [7]]
    logprobs, ref = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -9.0, -9.0]]), torch.full((2, 3), -2.0)
    keep_look(tmp_path, 3, ids, MASK, logprobs, ref, torch.tensor([0.25, -1.5]))
    (look,) = looks_below(tmp_path)
    assert (look.iteration, look.ids, look.rewards) == (3, [[5, 6, 2], [7]], [0.25, -1.5])
    assert look.kl == [2.5, -1.0]  # (1 + 0 + 1.5), and of the one real token -3 + 2


def test_looks_come_in_the_order_of_training_and_one_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    zero = torch.zeros(2, 3)
    for iteration in (10, 2, 10):
        keep_look(tmp_path, iteration, [[0, 0, 0], [0]], MASK, zero, zero, zero[:, 0])
    (tmp_path / "looks" / "writing").write_text('{"iteration": 99')
    assert [look.iteration for look in looks_below(tmp_path)] == [2, 10]
    assert looks_below(tmp_path / "elsewhere") == []
    kept = json.loads((tmp_path / "looks" / "000002.json").read_text())
    assert set(kept) == {"iteration", "ids", "rewards", "kl"}


@pytest.mark.conformance("over-optimisation unseen", equation="models.training.ppo_looks:keep_look")
def test_ppo_keeps_each_look_and_what_it_keeps_is_what_its_curves_say(
    gqa_policy: Path, reward_folders: dict[str, Path], tmp_path: Path, recorder: Recorder
) -> None:
    run_ppo(gqa_policy, reward_folders["gqa"], tmp_path / "out", tmp_path / "work", recorder)
    looks = looks_below(tmp_path / "work")
    assert [look.iteration for look in looks] == [0, 2, 4]
    renderer = renderer_of(gqa_policy)
    for look, reward, kl in zip(
        looks, recorder.curve("ppo/validation_reward"), recorder.curve("ppo/validation_kl"), strict=True
    ):
        assert statistics.fmean(look.rewards) == pytest.approx(reward, abs=1e-5)
        assert statistics.fmean(look.kl) == pytest.approx(kl, abs=1e-5)
        assert len(look.ids) == 4
        assert all(1 <= len(ids) <= 6 and max(ids) < len(renderer.tokenizer) for ids in look.ids)
    assert looks[0].kl == pytest.approx([0.0] * 4, abs=1e-5), "it begins where the reference is"
    assert any(abs(value) > 1e-4 for value in looks[-1].kl)
