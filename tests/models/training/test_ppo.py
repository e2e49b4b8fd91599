"""PPO from rollouts to the best policy on disk."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from models.checkpoint import load_policy, load_reward, scalar_head
from models.config import PPOConfig, SamplingConfig
from models.dialogue import Renderer
from models.generation import Request, Response, sample
from models.roles import Roles
from models.scoring import score_rows, token_values
from models.training import ppo, rollouts
from models.training.ppo import train_ppo
from models.training.ppo_looks import is_best
from models.training.pulse import TrainingDivergedError
from models.training.reporting import Reporter
from models.training.rollouts import PPOPrompt
from tests.models.training.little_runs import LORA, Recorder, prompts, run_ppo

IDS = torch.tensor([[1, 4, 20, 21, 22, 5, 50, 51]])


def likes_even_tokens(vocabulary: int, sign: float) -> nn.Module:
    """A reward model by hand: without attention or feed-forward, its score is `sign` where the last token is even."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_labels=1, use_cache=False, rms_norm_eps=1e-6,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1.0)
        model.model.embed_tokens.weight[0::2, 0] = 1.0  # RMSNorm makes it sqrt(32)
        model.model.embed_tokens.weight[1::2, 1] = 1.0
        model.score.weight[0, 0] = sign / 32**0.5
    return model.requires_grad_(False).eval()


def bandit(
    policy: Path,
    renderer: Renderer,
    folder: Path,
    reporter: Reporter,
    *,
    opposed: bool = False,
    lora: bool = False,
    seed: int = 3,
    **changes: Any,
) -> tuple[dict[str, float], Roles]:
    """One token an answer, right where it is even. With `opposed`, held-out prompts reward the odd ones."""
    config = PPOConfig(
        **{
            "learning_rate": 2e-2, "value_learning_rate": 3e-3, "iterations": 12, "batch_size": 32,
            "mini_batch_size": 16, "kl_coef": 0.0, "kl_limit": 1e6, "min_entropy": 0.0, "validate_every": 6,
            "weight_decay": 0.0, "sampling": SamplingConfig(temperature=1.3, max_new_tokens=1), **changes,
        }
    )  # fmt: skip
    size = len(renderer.tokenizer)
    value = likes_even_tokens(size, 0.0).requires_grad_(True)
    roles = Roles(
        policy=load_policy(policy, lora=LORA if lora else None, trainable=True),
        reference=load_policy(policy),
        value=value,
        safety=likes_even_tokens(size, 1.0),
        helpfulness=likes_even_tokens(size, -1.0 if opposed else 1.0),
    )
    found = [replace(prompt, is_safety=True) for prompt in prompts(renderer)]
    held_out = [replace(prompt, is_safety=False) for prompt in prompts(renderer)] * 4
    metrics = train_ppo(
        roles, found, held_out, renderer, config, out=folder / "out", work=folder / "work", seed=seed, reporter=reporter
    )
    return metrics, roles


def digest(model: nn.Module) -> str:
    text = b"".join(value.contiguous().numpy().tobytes() for _, value in sorted(model.state_dict().items()))
    return hashlib.sha256(text).hexdigest()


def test_the_hand_made_reward_is_what_it_says(renderer: Renderer) -> None:
    scores = score_rows(likes_even_tokens(len(renderer.tokenizer), 1.0), [[1, 4, 21, 50], [1, 4, 20, 51]], 3, 2)
    assert scores == pytest.approx([1.0, 0.0], abs=1e-4)


@pytest.mark.slow
def test_it_learns_a_bandit(gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder) -> None:
    metrics, _ = bandit(gqa_policy, renderer, tmp_path, recorder)
    rewards = recorder.curve("ppo/reward")
    assert len(rewards) == metrics["iterations"] == 12
    assert sum(rewards[:2]) / 2 < 0.75
    assert sum(rewards[-3:]) / 3 > 0.9
    assert metrics["best_validation_reward"] > 0.9
    assert metrics["best_iteration"] > 0


@pytest.mark.slow
def test_the_kl_penalty_holds_the_policy_near_its_reference(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path
) -> None:
    found = {}
    for kl_coef in (0.0, 10.0):
        recorder = Recorder()
        bandit(gqa_policy, renderer, tmp_path / str(kl_coef), recorder, kl_coef=kl_coef, iterations=8)
        found[kl_coef] = recorder.curve("ppo/kl_k3")
    assert found[0.0][0] == found[10.0][0] == pytest.approx(0, abs=1e-6)
    assert found[10.0][-1] < found[0.0][-1] / 2


def test_looks_are_compared_by_the_objective_that_is_trained_whitened_by_the_first_looks_deviation(
    recorder: Recorder,
) -> None:
    """reward / 2 - 0.05 KL: 0, 0.5 - 0.2 = 0.3, 0.6 - 0.5 = 0.1, 0.7 - 0.1 = 0.6, and one beyond the limit."""
    config = PPOConfig(kl_coef=0.05, kl_limit=12.0)
    state: dict[str, float] = {"iteration": 0, "best": -math.inf, "best_iteration": 0, "looks_without_gain": 0}
    found = []
    for reward, deviation, kl in (
        (0.0, 2.0, 0.0),
        (1.0, 0.5, 4.0),
        (1.2, 4.0, 10.0),
        (1.4, 10.0, 2.0),
        (9.0, 1.0, 13.0),
    ):
        found.append(is_best({"reward": reward, "reward_std": deviation, "kl": kl}, config, state, recorder))
        state["iteration"] += 1
    assert found == [True, True, False, True, False]
    assert (state["best"], state["best_reward"], state["best_iteration"]) == (pytest.approx(0.6), 1.4, 3)
    assert state["looks_without_gain"] == 1


@pytest.mark.slow
def test_beyond_the_limit_of_kl_it_stops_and_keeps_the_best_policy_before(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    """The reward still rises, so the last policies would be the best ones; those beyond the limit are none."""
    free, _ = bandit(gqa_policy, renderer, tmp_path / "free", Recorder(), kl_coef=0.0, validate_every=1)
    metrics, _ = bandit(gqa_policy, renderer, tmp_path / "held", recorder, kl_coef=0.0, validate_every=1, kl_limit=0.2)
    kls = recorder.curve("ppo/kl")
    assert kls[-1] > 0.2 >= max(kls[:-1])
    assert metrics["beyond_kl_limit"] == 1 > free["beyond_kl_limit"]
    assert 0 < metrics["iterations"] == len(kls) < free["iterations"]
    best = int(metrics["best_iteration"])
    assert recorder.curve("ppo/validation_kl")[best] <= 0.2
    assert metrics["best_validation_reward"] == recorder.curve("ppo/validation_reward")[best]
    assert any("limit 0.2; stopped, the policy of iteration" in line for line in recorder.lines)
    assert (tmp_path / "held" / "out" / "config.json").exists()


def test_early_stop_on_held_out_prompts_keeps_the_best_policy(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    """What training rewards, held-out prompts punish: the best policy is the one before the first step."""
    metrics, roles = bandit(gqa_policy, renderer, tmp_path, recorder, opposed=True, validate_every=3, patience=2)
    assert metrics["best_iteration"] == 0
    assert metrics["iterations"] < 12
    assert any("no better held-out reward since iteration 0, stopped" in line for line in recorder.lines)
    looks = recorder.curve("ppo/validation_reward")
    assert metrics["best_validation_reward"] == looks[0] == max(looks)
    with torch.no_grad():
        best = load_policy(tmp_path / "out", gqa_policy)(input_ids=IDS).logits
        assert torch.equal(best, load_policy(gqa_policy)(input_ids=IDS).logits)
        assert not torch.allclose(roles.policy.eval()(input_ids=IDS).logits, best, atol=1e-3)


@pytest.mark.slow
@pytest.mark.conformance("reference drifts", equation="models.training.ppo:train_ppo")
def test_the_reference_and_the_reward_models_stay_as_they_were_and_adapters_off_give_the_start(
    policy_folder: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    fresh = likes_even_tokens(len(renderer.tokenizer), 1.0)
    metrics, roles = bandit(policy_folder, renderer, tmp_path, recorder, lora=True, iterations=3)
    assert metrics["iterations"] == 3
    assert digest(roles.reference) == digest(load_policy(policy_folder))
    assert digest(roles.safety) == digest(roles.helpfulness) == digest(fresh)
    policy = roles.policy.eval()
    assert isinstance(policy, PeftModel)
    with torch.no_grad():
        start = load_policy(policy_folder)(input_ids=IDS).logits
        assert not torch.equal(policy(input_ids=IDS).logits, start)
        with policy.disable_adapter():
            assert torch.equal(policy(input_ids=IDS).logits, start)


@pytest.mark.slow
@pytest.mark.conformance(
    "sampling temperature against scoring temperature", equation="models.training.rollouts:_answer_group"
)
def test_the_ratio_of_the_first_epoch_is_one_and_the_first_kl_zero(
    policy_folder: Path, reward_folder: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """Sampled at temperature 1.3, one mini-batch, one epoch: nothing has moved when the ratio is taken."""
    run_ppo(
        policy_folder, reward_folder, tmp_path / "out", tmp_path / "work", recorder, mini_batch_size=4,
        iterations=3,
    )  # fmt: skip
    for name in ("ppo/ratio_mean", "ppo/ratio_max"):
        assert recorder.curve(name) == pytest.approx([1.0] * 3, abs=1e-4)
    assert recorder.curve("ppo/clip_fraction") == [0.0] * 3
    assert recorder.curve("ppo/kl")[0] == pytest.approx(0, abs=1e-5)
    assert recorder.curve("ppo/kl")[2] != pytest.approx(0, abs=1e-5)


@pytest.mark.conformance("order of Llama 2's reward", equation="models.training.ppo:_roll_out")
def test_the_first_losses_follow_from_the_equations_by_hand(
    policy_folder: Path,
    reward_folder: Path,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the first iteration KL is 0 and, with gamma = lambda = 1, the return of every token is the whitened score."""
    said: list[tuple[Sequence[Sequence[int]], list[list[Response]]]] = []

    def listen(model: nn.Module, requests: Sequence[Request], *args: Any, **kwargs: Any) -> list[list[Response]]:
        said.append(([request.ids for request in requests], sample(model, requests, *args, **kwargs)))
        return said[-1][1]

    monkeypatch.setattr(rollouts, "sample", listen)
    run_ppo(
        policy_folder, reward_folder, tmp_path / "out", tmp_path / "work", recorder, iterations=1,
        mini_batch_size=4, gae_lambda=1.0, value_clip_range=None,
    )  # fmt: skip
    given, drawn = said[1]  # the first call looks at held-out prompts
    model = load_reward(reward_folder)  # safety, helpfulness and value model start alike
    values, scores = [], []
    for prompt, [response] in zip(given, drawn, strict=True):
        row = torch.tensor([[*prompt, *response.ids]])
        with torch.no_grad():
            of_tokens = token_values(model, row, torch.ones_like(row))[0]
        scores.append(float(of_tokens[-1]))
        values.append(of_tokens[len(prompt) - 1 : -1])  # before each token of the response
    mean = sum(scores) / 4
    std = (sum((score - mean) ** 2 for score in scores) / 4) ** 0.5
    errors = torch.cat([value - (score - mean) / std for value, score in zip(values, scores, strict=True)])
    assert recorder.curve("ppo/reward") == [pytest.approx(mean, abs=1e-5)]
    assert recorder.curve("ppo/value_loss") == [pytest.approx(float(0.5 * errors.square().mean()), rel=1e-4)]
    assert recorder.curve("ppo/policy_loss") == [pytest.approx(0, abs=1e-5)]  # whitened advantages at ratio 1
    assert recorder.curve("ppo/length") == [sum(map(len, values)) / 4]


def test_the_best_policy_is_the_one_with_the_best_held_out_reward_less_its_kl(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, recorder: Recorder
) -> None:
    metrics, _ = bandit(gqa_policy, renderer, tmp_path, recorder, kl_coef=0.05, iterations=6, validate_every=3)
    rewards, kls = recorder.curve("ppo/validation_reward"), recorder.curve("ppo/validation_kl")
    assert kls[0] == pytest.approx(0, abs=1e-6)
    assert kls[-1] > 0.1
    deviation = recorder.curve("ppo/validation_reward_std")[0]
    objectives = [reward / deviation - 0.05 * kl for reward, kl in zip(rewards, kls, strict=True)]
    best = objectives.index(max(objectives))
    assert metrics["best_validation_reward"] == pytest.approx(rewards[best], abs=1e-6)
    assert metrics["best_iteration"] == 3 * best > 0


@pytest.mark.parametrize(
    ("truncated_reward", "expected"), [(-7.0, -7.0), ("own", 1.0)], ids=["as configured", "its own"]
)
@pytest.mark.conformance("reward on the wrong position, truncated responses", equation="models.training.ppo:_combined")
def test_a_truncated_response_is_treated_as_the_config_says(
    policy_folder: Path,
    renderer: Renderer,
    tmp_path: Path,
    recorder: Recorder,
    truncated_reward: float | Literal["own"],
    expected: float,
) -> None:
    """Every response is cut after its one token, unless that is the end of sequence, which greedy decoding never says
    here. Its own reward is 1 for an even token, 0 for an odd one."""
    metrics, _ = bandit(
        policy_folder, renderer, tmp_path, recorder, iterations=2, truncated_reward=truncated_reward,
        sampling=SamplingConfig(temperature=1e-3, max_new_tokens=1), learning_rate=1e-9,
    )  # fmt: skip
    assert metrics["finished"] == 0.0
    if truncated_reward == "own":
        assert 0 < metrics["reward"] <= expected
    else:
        assert metrics["reward"] == expected


@pytest.mark.slow
@pytest.mark.conformance("accumulation normalised per micro-batch", equation="models.training.ppo_update:_accumulate")
def test_accumulated_passes_give_the_policy_of_one_pass(
    policy_folder: Path, reward_folder: Path, tmp_path: Path
) -> None:
    curves, weights = [], []
    for steps in (1, 4):
        recorder, folder = Recorder(), tmp_path / str(steps)
        torch.manual_seed(11)
        run_ppo(
            policy_folder, reward_folder, folder / "out", folder / "work", recorder, mini_batch_size=4,
            accumulation_steps=steps, iterations=2, epochs=2, adam_eps=1e-3,
        )  # fmt: skip
        names = ("policy_loss", "value_loss", "entropy", "kl", "ratio_mean", "ratio_max")
        curves.append({name: recorder.curve(f"ppo/{name}") for name in names})
        weights.append(recorder.curve("ppo/policy_grad_norm") + recorder.curve("ppo/value_grad_norm"))
    for name, curve in curves[0].items():
        assert curves[1][name] == pytest.approx(curve, abs=1e-4), name
    assert weights[1] == pytest.approx(weights[0], rel=1e-3)
    assert min(curves[0]["ratio_max"]) > 1.001  # of the second epoch


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"min_entropy": 50.0}, r"entropy [\d.]+ nats a token in iteration 1, below 50"),
        (
            {"value_learning_rate": 3.35e38, "beta1": 0.0, "max_grad_norm": 1e9, "mini_batch_size": 4},
            r"ppo value in iteration 1: the weights of .* are no longer finite",
        ),
    ],
    ids=["entropy collapse", "weights that blow up"],
)
@pytest.mark.conformance("a run that diverges goes on", equation="models.training.ppo:_check")
def test_a_run_that_diverges_stops_and_leaves_the_last_good_checkpoint(
    policy_folder: Path,
    reward_folder: Path,
    tmp_path: Path,
    recorder: Recorder,
    changes: dict[str, Any],
    complaint: str,
) -> None:
    def run(**given: Any) -> dict[str, float]:
        values = {"learning_rate": 0.03, "checkpoint_seconds": 1e-6, "iterations": 6, "weight_decay": 1.0, **given}
        return run_ppo(policy_folder, reward_folder, tmp_path / "out", tmp_path / "work", recorder, **values)

    with pytest.raises(TrainingDivergedError, match=complaint):
        run(**changes)
    assert not (tmp_path / "out").exists()
    for kept in (tmp_path / "work").glob("checkpoint-*"):
        for file in ("policy", "value"):
            assert all(torch.isfinite(weight).all() for weight in load_file(kept / f"{file}.safetensors").values())


@pytest.mark.slow
def test_a_run_that_was_cut_off_after_its_last_step_gives_its_policy_again(
    gqa_policy: Path, reward_folders: dict[str, Path], tmp_path: Path
) -> None:
    """The best policy is copied, not moved: a second run over the same work finds it."""
    written = []
    for out in ("one", "two"):
        recorder = Recorder()
        metrics = run_ppo(
            gqa_policy, reward_folders["gqa"], tmp_path / out, tmp_path / "work", recorder, checkpoint_seconds=1e-6
        )
        written.append(
            (hashlib.sha256((tmp_path / out / "adapter_model.safetensors").read_bytes()).hexdigest(), metrics)
        )
    assert recorder.lines[0] == "ppo: resumed from iteration 4"
    assert written[0][0] == written[1][0]
    assert written[0][1]["best_validation_reward"] == written[1][1]["best_validation_reward"]


def test_prompts_come_in_passes_each_in_its_own_order(
    gqa_policy: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[PPOPrompt]] = []
    original = ppo._draw

    def listen(prompts: Sequence[PPOPrompt], count: int, iteration: int, seed: int) -> list[PPOPrompt]:
        drawn.append(original(prompts, count, iteration, seed))
        return drawn[-1]

    monkeypatch.setattr(ppo, "_draw", listen)
    bandit(gqa_policy, renderer, tmp_path, Recorder(), iterations=4, batch_size=4, mini_batch_size=4)
    order = [tuple(prompt.ids) for batch in drawn for prompt in batch]
    everything = sorted(tuple(prompt.ids) for prompt in prompts(renderer))
    assert sorted(order[:8]) == sorted(order[8:]) == everything
    assert order[:8] != order[8:]


@pytest.mark.conformance("value head start", equation="models.scoring:token_values")
def test_a_zero_head_gives_zero_values_and_a_reward_models_head_its_values(reward_folder: Path) -> None:
    value = load_reward(reward_folder, trainable=True)
    with torch.no_grad():
        assert float(token_values(value, IDS, torch.ones_like(IDS)).abs().max()) > 0.01
        scalar_head(value).weight.zero_()
        assert token_values(value, IDS, torch.ones_like(IDS)).tolist() == [[0.0] * IDS.shape[1]]


def test_batches_that_do_not_split_evenly_are_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size 10 must be a multiple of mini_batch_size 4"):
        PPOConfig(batch_size=10, mini_batch_size=4)
    with pytest.raises(ValidationError, match="mini_batch_size 4 must be a multiple of accumulation_steps 3"):
        PPOConfig(batch_size=8, mini_batch_size=4, accumulation_steps=3)
    with pytest.raises(ValidationError, match=r"mini_batch_size 4 must be a multiple of .* times processes 3"):
        PPOConfig(batch_size=8, mini_batch_size=4, processes=3)
