"""PPO on the combined reward of Llama 2 (section 3.2.3), on accelerate. The equations stand in the order they are
used."""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from models.algorithms.gae import gae
from models.algorithms.kl import kl_k1, kl_k3, penalize_kl
from models.algorithms.ppo import entropy, policy_loss, value_loss
from models.algorithms.reward import combine_rewards, whiten
from models.checkpoint import save_checkpoint
from models.config import PPOConfig
from models.dialogue import Renderer
from models.generation import Response, sample
from models.scoring import lay_out, response_logprobs, score_rows, token_values
from models.training.hf import TrainingDivergedError, require_finite
from models.training.reporting import Reporter
from models.training.state import newest_checkpoint, read_checkpoint, write_checkpoint


@dataclass(frozen=True)
class PPOPrompt:
    """A prompt as token ids, and whether it is one of the safety set: there the safety model always decides."""

    ids: list[int]
    is_safety: bool


@dataclass(frozen=True)
class PPOModels:
    """Trained: policy, value. Frozen: reference (the policy as it was at the start), safety and helpfulness reward
    models."""

    policy: nn.Module
    reference: nn.Module
    value: nn.Module
    safety: nn.Module
    helpfulness: nn.Module


@dataclass
class _Rollouts:
    """One batch: B responses of at most T tokens, behind prompts padded on the left to P columns."""

    ids: torch.Tensor  # (B, P + T)
    attention: torch.Tensor  # (B, P + T)
    response_mask: torch.Tensor  # (B, T)
    old_logprobs: torch.Tensor  # (B, T)
    ref_logprobs: torch.Tensor  # (B, T)
    old_values: torch.Tensor  # (B, T)
    scores: torch.Tensor  # (B,) combined raw reward, before whitening
    advantages: torch.Tensor  # (B, T)
    returns: torch.Tensor  # (B, T)


def train_ppo(
    models: PPOModels,
    prompts: Sequence[PPOPrompt],
    validation_prompts: Sequence[PPOPrompt],
    renderer: Renderer,
    config: PPOConfig,
    *,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Train the policy, write the best one by reward on held-out prompts to `out`, return the metrics of the run.

    Stops early when `config.patience` looks at the held-out prompts brought nothing better. Raises
    TrainingDivergedError on NaN, KL over its limit or a collapsed entropy; the last good checkpoint stays in `work`.
    """
    torch.set_num_threads(config.threads)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    optimizers = {
        "policy": _adamw(models.policy, config.learning_rate, config),
        "value": _adamw(models.value, config.value_learning_rate, config),
    }
    policy, value, optimizers["policy"], optimizers["value"] = accelerator.prepare(
        models.policy, models.value, optimizers["policy"], optimizers["value"]
    )
    trained = {"policy": accelerator.unwrap_model(policy), "value": accelerator.unwrap_model(value)}
    frozen = {name: getattr(models, name).to(accelerator.device) for name in ("reference", "safety", "helpfulness")}
    best_folder = work / "best"
    state = {"iteration": 0, "best": -math.inf, "best_iteration": 0, "looks_without_gain": 0}
    found = newest_checkpoint(work)
    if found is not None:
        state = read_checkpoint(found[0], models=trained, optimizers=_plain(optimizers))
        reporter.log(f"ppo: resumed from iteration {found[1]}")
    started = saved = time.monotonic()
    first = int(state["iteration"])
    last: dict[str, float] = {}

    for iteration in range(first, config.iterations):
        if iteration % config.validate_every == 0:
            if _look_at_validation(trained, frozen, validation_prompts, renderer, config, state, seed, reporter):
                save_checkpoint(trained["policy"], renderer.tokenizer, best_folder)
            if int(state["looks_without_gain"]) >= config.patience:
                reporter.log(f"ppo: no better held-out reward since iteration {state['best_iteration']}, stopped")
                break
        batch = _draw(prompts, config.batch_size, iteration, seed)
        rollouts, last = _roll_out(trained, frozen, batch, renderer, config, seed=_mix(seed, 2 * iteration))
        last |= _update(policy, value, optimizers, rollouts, accelerator, config, seed=_mix(seed, 2 * iteration + 1))
        _check(last, config, iteration)
        for name, model in trained.items():
            require_finite(model, f"ppo {name} in iteration {iteration + 1}")
        for name, number in last.items():
            reporter.metric(f"ppo/{name}", number, iteration)
        state["iteration"] = iteration + 1
        if time.monotonic() - saved >= config.checkpoint_seconds:
            write_checkpoint(work, iteration + 1, models=trained, optimizers=_plain(optimizers), state=state)
            saved = time.monotonic()
        left = (time.monotonic() - started) / (iteration + 1 - first) * (config.iterations - iteration - 1)
        reporter.progress(
            (iteration + 1) / config.iterations,
            f"ppo {iteration + 1}/{config.iterations}, reward {last['reward']:.2f}, KL {last['kl']:.3f}, "
            f"{left:.0f} s left",
        )
    else:
        if _look_at_validation(trained, frozen, validation_prompts, renderer, config, state, seed, reporter):
            save_checkpoint(trained["policy"], renderer.tokenizer, best_folder)
    shutil.copytree(best_folder, out, dirs_exist_ok=True)  # a copy: a run that is cut off here finds it again
    return {
        **last,
        "iterations": float(state["iteration"]),
        "best_iteration": float(state["best_iteration"]),
        "best_validation_reward": float(state["best"]),
    }


@torch.no_grad()
def _roll_out(
    trained: dict[str, nn.Module],
    frozen: dict[str, nn.Module],
    batch: Sequence[PPOPrompt],
    renderer: Renderer,
    config: PPOConfig,
    seed: int,
) -> tuple[_Rollouts, dict[str, float]]:
    """Sample, score, and turn scores into advantages."""
    policy = trained["policy"]
    responses = _sample(policy, batch, renderer, config, seed)
    ids, attention, response_mask = lay_out(
        [p.ids for p in batch], [r.ids for r in responses], renderer.pad_id, next(policy.parameters()).device
    )
    T = response_mask.shape[1]
    temperature = config.sampling.temperature

    # log pi(a) and log pi_0(a), both at the temperature that was sampled at
    old_logprobs, _ = response_logprobs(policy, ids, attention, T, temperature)
    ref_logprobs, _ = response_logprobs(frozen["reference"], ids, attention, T, temperature)
    old_values = _state_values(trained["value"], ids, attention, T)

    # R~_c = whiten(logit(R_c)), R_c = R_s if is_safety(p) or R_s < 0.15 else R_h
    scores, safety_scores = _combined(frozen, batch, responses, renderer, config)
    whitened = whiten(scores, min_std=config.min_reward_std)

    # R = R~_c - beta KL, token by token; advantages by GAE, whitened over real tokens
    rewards = penalize_kl(whitened, old_logprobs, ref_logprobs, response_mask, kl_coef=config.kl_coef)
    advantages, returns = gae(rewards, old_values, response_mask, config.gamma, config.gae_lambda)
    advantages = whiten(advantages, response_mask)

    kl = (kl_k1(old_logprobs, ref_logprobs) * response_mask).sum(1)
    k3 = (kl_k3(old_logprobs, ref_logprobs) * response_mask).sum(1)
    stats = {
        "reward": scores.mean().item(),
        "safety_reward": safety_scores.mean().item(),
        "kl": kl.mean().item(),
        "kl_k3": k3.mean().item(),
        "length": response_mask.sum(1).float().mean().item(),
        "finished": sum(r.finished for r in responses) / len(responses),
    }
    return _Rollouts(
        ids, attention, response_mask, old_logprobs, ref_logprobs, old_values, scores, advantages, returns
    ), stats


def _update(
    policy: nn.Module,
    value: nn.Module,
    optimizers: dict[str, torch.optim.Optimizer],
    rollouts: _Rollouts,
    accelerator: Accelerator,
    config: PPOConfig,
    seed: int,
) -> dict[str, float]:
    """One gradient step of policy and value model per mini-batch."""
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, float] = {}
    count = 0
    policy.train()
    value.train()
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(rollouts.ids), generator=generator), config.mini_batch_size):
            stats: dict[str, float] = {"explained_variance": float(_explained_variance(rollouts, rows))}
            tokens = int(rollouts.response_mask[rows].sum())
            for part in torch.split(rows, -(-len(rows) // config.accumulation_steps)):
                for name, number in _accumulate(policy, value, rollouts, part, tokens, accelerator, config).items():
                    stats[name] = stats.get(name, 0.0) + number
            for name, model in (("policy", policy), ("value", value)):
                norm = accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
                stats[f"{name}_grad_norm"] = float(torch.as_tensor(norm))
                optimizers[name].step()
                optimizers[name].zero_grad()
            for name, number in stats.items():
                totals[name] = totals.get(name, 0.0) + number
            count += 1
    return {name: total / count for name, total in totals.items()}


def _accumulate(
    policy: nn.Module,
    value: nn.Module,
    rollouts: _Rollouts,
    rows: torch.Tensor,
    tokens: int,
    accelerator: Accelerator,
    config: PPOConfig,
) -> dict[str, float]:
    """Add the gradients of some rows of a mini-batch that holds `tokens` real tokens. Returns their share of its
    means."""
    mask = rollouts.response_mask[rows]
    ids, attention = rollouts.ids[rows], rollouts.attention[rows]
    T, temperature = mask.shape[1], config.sampling.temperature
    logprobs, logits = response_logprobs(policy, ids, attention, T, temperature)
    loss, stats = policy_loss(
        logprobs, rollouts.old_logprobs[rows], rollouts.advantages[rows], mask, config.clip_range, denominator=tokens
    )
    accelerator.backward(loss)
    values = _state_values(value, ids, attention, T)
    critic_loss = value_loss(
        values,
        rollouts.old_values[rows],
        rollouts.returns[rows],
        mask,
        config.value_clip_range,
        denominator=tokens,
    )
    accelerator.backward(critic_loss)
    share = int(mask.sum()) / tokens
    return {
        **{name: share * float(tensor) for name, tensor in stats.items()},
        "policy_loss": float(loss),
        "value_loss": float(critic_loss),
        "entropy": float(entropy(logits.detach() / temperature, mask, denominator=tokens)),
    }


def _state_values(value: nn.Module, ids: torch.Tensor, attention: torch.Tensor, T: int) -> torch.Tensor:
    """V(s_t), (B, T): the value before response token t, so read one column earlier."""
    return token_values(value, ids, attention)[:, -T - 1 : -1]


def _combined(
    frozen: dict[str, nn.Module],
    batch: Sequence[PPOPrompt],
    responses: Sequence[Response],
    renderer: Renderer,
    config: PPOConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Combined raw rewards (B,) and safety scores (B,)."""
    rows = [prompt.ids + response.ids for prompt, response in zip(batch, responses, strict=True)]
    device = next(frozen["safety"].parameters()).device
    size = config.sampling.batch_size
    safety = torch.tensor(score_rows(frozen["safety"], rows, renderer.pad_id, size), device=device)
    helpfulness = torch.tensor(score_rows(frozen["helpfulness"], rows, renderer.pad_id, size), device=device)
    is_safety = torch.tensor([prompt.is_safety for prompt in batch], device=device)
    scores = combine_rewards(safety, helpfulness, is_safety, config.safety_threshold)
    if config.truncated_reward is not None:
        finished = torch.tensor([response.finished for response in responses], device=device)
        scores = torch.where(finished, scores, torch.full_like(scores, config.truncated_reward))
    return scores, safety


def _look_at_validation(
    trained: dict[str, nn.Module],
    frozen: dict[str, nn.Module],
    prompts: Sequence[PPOPrompt],
    renderer: Renderer,
    config: PPOConfig,
    state: dict[str, float],
    seed: int,
    reporter: Reporter,
) -> bool:
    """Reward minus kl_coef · KL on held-out prompts, the same random numbers each time. True where it is the best so
    far."""
    responses = _sample(trained["policy"], prompts, renderer, config, _mix(seed, -1))
    scores, _ = _combined(frozen, prompts, responses, renderer, config)
    with torch.no_grad():
        device = next(trained["policy"].parameters()).device
        ids, attention, mask = lay_out([p.ids for p in prompts], [r.ids for r in responses], renderer.pad_id, device)
        T, temperature = mask.shape[1], config.sampling.temperature
        logprobs, _ = response_logprobs(trained["policy"], ids, attention, T, temperature)
        ref_logprobs, _ = response_logprobs(frozen["reference"], ids, attention, T, temperature)
        kl = (kl_k1(logprobs, ref_logprobs) * mask).sum(1).mean().item()
    objective = scores.mean().item() - config.kl_coef * kl
    reporter.metric("ppo/validation_reward", scores.mean().item(), int(state["iteration"]))
    reporter.metric("ppo/validation_kl", kl, int(state["iteration"]))
    if objective > state["best"]:
        state |= {"best": objective, "best_iteration": state["iteration"], "looks_without_gain": 0}
        return True
    state["looks_without_gain"] += 1
    return False


def _sample(
    policy: nn.Module, batch: Sequence[PPOPrompt], renderer: Renderer, config: PPOConfig, seed: int
) -> list[Response]:
    drawn = sample(
        policy, [p.ids for p in batch], config.sampling, eos_id=renderer.eos_id, pad_id=renderer.pad_id, seed=seed
    )
    return [responses[0] for responses in drawn]


def _draw(prompts: Sequence[PPOPrompt], count: int, iteration: int, seed: int) -> list[PPOPrompt]:
    """The prompts of one iteration: passes over all of them, each pass in its own order."""
    chosen = []
    for place in range(iteration * count, (iteration + 1) * count):
        epoch, index = divmod(place, len(prompts))
        order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(_mix(seed, 1_000_000 + epoch)))
        chosen.append(prompts[int(order[index])])
    return chosen


def _check(stats: dict[str, float], config: PPOConfig, iteration: int) -> None:
    for name, number in stats.items():
        if not math.isfinite(number):
            raise TrainingDivergedError(f"ppo: {name} is {number} in iteration {iteration + 1}")
    if stats["kl"] > config.kl_limit:
        raise TrainingDivergedError(
            f"ppo: KL {stats['kl']:.2f} nats a response in iteration {iteration + 1}, limit {config.kl_limit}"
        )
    if stats["entropy"] < config.min_entropy:
        raise TrainingDivergedError(
            f"ppo: entropy {stats['entropy']:.4f} nats a token in iteration {iteration + 1}, below {config.min_entropy}"
        )


def _explained_variance(rollouts: _Rollouts, rows: torch.Tensor) -> torch.Tensor:
    """1 - Var(returns - values) / Var(returns) over real tokens: how much of the returns the value model knew."""
    mask = rollouts.response_mask[rows]
    returns, values = rollouts.returns[rows][mask], rollouts.old_values[rows][mask]
    return 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False).clamp(min=1e-8)


def _adamw(model: nn.Module, learning_rate: float, config: PPOConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
    )


def _plain(optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, torch.optim.Optimizer]:
    return {name: getattr(optimizer, "optimizer", optimizer) for name, optimizer in optimizers.items()}


def _mix(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number * 7_919 + 12_345) % 2**62
