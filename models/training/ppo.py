"""PPO on the combined reward of Llama 2 (section 3.2.3), on accelerate. The equations stand in the order they are
used.

Several processes share the work of an iteration: each answers its part of the prompts and learns from its part of each
mini-batch. Every process holds all numbers of the batch, so means and deviations are the batch's, and gradients are
summed: the policy is that of one process, to rounding. All five models are in every process, or spread over them.
"""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from models.algorithms.gae import gae
from models.algorithms.kl import kl_k1, kl_k3, penalize_kl
from models.algorithms.logprobs import token_entropy
from models.algorithms.ppo import explained_variance, policy_loss, value_loss
from models.algorithms.reward import combine_rewards, truncate_rewards, whiten
from models.config import PPOConfig
from models.devices import autocast, has_accelerator, use_threads
from models.dialogue import Renderer
from models.learning_pass import fast_learning, told_of_kernel
from models.responses import lay_responses, read_logprobs, read_values
from models.roles import Roles
from models.scoring import pad_right
from models.seeds import derive_seed
from models.training.hf import require_finite
from models.training.ppo_looks import is_best, is_too_far, keep_look, report, standing
from models.training.processes import data_parallel
from models.training.pulse import TrainingDivergedError
from models.training.reporting import Reporter
from models.training.rollouts import PPOPrompt, Rollout, answer
from models.training.sharding import add_up_gradients, as_the_main_one_decides, save_spread, shard, whole
from models.training.state import newest_checkpoint, read_checkpoint, write_checkpoint


@dataclass
class _Rollouts:
    """One batch: B responses of at most T tokens, and what is learned from them."""

    prompts: list[list[int]]
    responses: list[list[int]]
    response_mask: torch.Tensor  # (B, T)
    old_logprobs: torch.Tensor  # (B, T)
    ref_logprobs: torch.Tensor  # (B, T)
    old_values: torch.Tensor  # (B, T)
    scores: torch.Tensor  # (B,) combined raw reward, before whitening
    advantages: torch.Tensor  # (B, T)
    returns: torch.Tensor  # (B, T)

    def keep(self, accelerator: Accelerator, work: Path, iteration: int) -> None:
        """As a look, below `work`; the first process alone writes."""
        if accelerator.is_main_process:
            numbers = self.response_mask, self.old_logprobs, self.ref_logprobs, self.scores
            keep_look(work, iteration, self.responses, *numbers)


@data_parallel
def train_ppo(
    roles: Roles,
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

    Stops early when `config.patience` looks at the held-out prompts brought nothing better, and where the policy is
    further than `config.kl_limit` from the reference. Raises TrainingDivergedError on NaN or a collapsed entropy; the
    last good checkpoint and all looks stay in `work`. Of `config.processes` the first one writes and reports.
    """
    use_threads(config.threads)
    accelerator = Accelerator(cpu=not has_accelerator())
    weight_bytes, here = roles.weight_bytes(), accelerator.is_main_process
    _place(roles, accelerator.device, config)
    optimizers = {
        "policy": _adamw(roles.policy, config.learning_rate, config),
        "value": _adamw(roles.value, config.value_learning_rate, config),
    }
    if told := told_of_kernel(roles.policy, config.kernel):
        reporter.log(f"ppo: {told}")
    best_folder, beyond = work / "best", False
    state: dict[str, float] = {"iteration": 0, "best": -math.inf, "best_iteration": 0, "looks_without_gain": 0}
    found = newest_checkpoint(work)
    if found is not None:
        state = read_checkpoint(found[0], models=roles.trained, optimizers=optimizers)
        reporter.log(f"ppo: resumed from iteration {found[1]}")
    started, first = time.monotonic(), int(state["iteration"])
    saved, last = started, dict[str, float]()

    def look() -> None:
        seen, stats = _roll_out(
            roles, validation_prompts, renderer, config, accelerator, seed=derive_seed(seed, "validation")
        )
        seen.keep(accelerator, work, int(state["iteration"]))
        if is_best(stats, config, state, reporter):
            save_spread(roles.policy, renderer.tokenizer, best_folder, here=here)

    for iteration in range(first, config.iterations):
        if iteration % config.validate_every == 0:
            look()
            if int(state["looks_without_gain"]) >= config.patience:
                reporter.log(f"ppo: no better held-out reward since iteration {state['best_iteration']}, stopped")
                break
        batch = _draw(prompts, config.batch_size, iteration, seed)
        drawing, learning = (derive_seed(seed, name, iteration) for name in ("rollouts", "update"))
        rollouts, last = _roll_out(roles, batch, renderer, config, accelerator, seed=drawing)
        last |= _update(roles, optimizers, rollouts, renderer, accelerator, config, seed=learning)
        _check(last, config, iteration)
        for name, model in roles.trained.items():
            require_finite(model, f"ppo {name} in iteration {iteration + 1}")
        report(last, iteration, reporter)
        state["iteration"] = iteration + 1
        if _is_due(saved, config, here):
            write_checkpoint(work, iteration + 1, models=roles.trained, optimizers=optimizers, state=state, here=here)
            saved = time.monotonic()
        if beyond := is_too_far(last, config, state, reporter):
            break
        left = (time.monotonic() - started) / (iteration + 1 - first) * (config.iterations - iteration - 1)
        reporter.progress((iteration + 1) / config.iterations, standing(last, iteration, config, left))
    else:
        look()
    if here:
        shutil.copytree(best_folder, out, dirs_exist_ok=True)  # a copy: a run that is cut off here finds it again
    accelerator.wait_for_everyone()
    return {
        **last,
        "iterations": float(state["iteration"]),
        "best_iteration": float(state["best_iteration"]),
        "best_validation_reward": float(state["best_reward"]),
        "beyond_kl_limit": float(beyond),
        "weights_mb": weight_bytes / 1e6,
    }


def _place(roles: Roles, device: torch.device, config: PPOConfig) -> None:
    """On the device of this process, or in parts over all of them."""
    if config.shards > 1:
        shard(*roles.models, processes=config.shards)
        for model in roles.trained.values():
            add_up_gradients(model)
    roles.place(device, gradient_checkpointing=config.gradient_checkpointing)


def _is_due(saved: float, config: PPOConfig, main: bool) -> bool:
    """Whether a checkpoint is: the main process has its clock, and writes alone what is not spread."""
    due = time.monotonic() - saved >= config.checkpoint_seconds
    return as_the_main_one_decides(due) if config.shards > 1 else due and main


def _roll_out(
    roles: Roles,
    batch: Sequence[PPOPrompt],
    renderer: Renderer,
    config: PPOConfig,
    accelerator: Accelerator,
    seed: int,
) -> tuple[_Rollouts, dict[str, float]]:
    """Sample, score, and turn scores into advantages."""
    with autocast(config.dtype):
        answers = answer(roles, batch, renderer, config.sampling, accelerator, seed)
    responses = [found.ids for found in answers]
    response_mask = pad_right(responses, renderer.pad_id)[1].bool().to(accelerator.device)

    def columns(rows: Sequence[list[float]]) -> torch.Tensor:
        flat = torch.tensor([number for row in rows for number in row], device=accelerator.device)
        return torch.zeros(response_mask.shape, device=accelerator.device).masked_scatter(response_mask, flat)

    old_logprobs = columns([found.logprobs for found in answers])
    ref_logprobs = columns([found.ref_logprobs for found in answers])
    old_values = columns([found.values for found in answers])

    # R~_c = whiten(logit(R_c)), R_c = R_s if is_safety(p) or R_s < 0.15 else R_h
    scores = _combined(answers, batch, config, accelerator.device)
    whitened = whiten(scores, min_std=config.min_reward_std)

    # R = R~_c - beta KL, token by token; advantages by GAE, whitened over real tokens
    rewards = penalize_kl(whitened, old_logprobs, ref_logprobs, response_mask, kl_coef=config.kl_coef)
    advantages, returns = gae(rewards, old_values, response_mask, config.gamma, config.gae_lambda)
    advantages = whiten(advantages, response_mask)

    kl = (kl_k1(old_logprobs, ref_logprobs) * response_mask).sum(1)
    k3 = (kl_k3(old_logprobs, ref_logprobs) * response_mask).sum(1)
    stats = {
        "reward": scores.mean().item(),
        "reward_std": scores.std(unbiased=False).item(),
        "safety_reward": sum(found.safety for found in answers) / len(answers),
        "kl": kl.mean().item(),
        "kl_k3": k3.mean().item(),
        "length": response_mask.sum(1).float().mean().item(),
        "finished": sum(found.finished for found in answers) / len(answers),
    }
    prompts = [prompt.ids for prompt in batch]
    return _Rollouts(
        prompts, responses, response_mask, old_logprobs, ref_logprobs, old_values, scores, advantages, returns
    ), stats


def _combined(
    answers: Sequence[Rollout], batch: Sequence[PPOPrompt], config: PPOConfig, device: torch.device
) -> torch.Tensor:
    """Combined raw rewards (B,)."""
    safety = torch.tensor([found.safety for found in answers], device=device)
    helpfulness = torch.tensor([found.helpfulness for found in answers], device=device)
    is_safety = torch.tensor([prompt.is_safety for prompt in batch], device=device)
    finished = torch.tensor([found.finished for found in answers], device=device)
    scores = combine_rewards(safety, helpfulness, is_safety, config.safety_threshold)
    return truncate_rewards(scores, finished, config.truncated_reward)


def _update(
    roles: Roles,
    optimizers: dict[str, torch.optim.Optimizer],
    rollouts: _Rollouts,
    renderer: Renderer,
    accelerator: Accelerator,
    config: PPOConfig,
    seed: int,
) -> dict[str, float]:
    """One gradient step of policy and value model per mini-batch."""
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, float] = {}
    count = 0
    for model in roles.trained.values():
        model.train()
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(rollouts.responses), generator=generator), config.mini_batch_size):
            tokens = int(rollouts.response_mask[rows].sum())
            own = rows[accelerator.process_index :: accelerator.num_processes]
            with fast_learning(roles.policy, config.kernel), fast_learning(roles.value, config.kernel):
                parts = [
                    _accumulate(roles, rollouts, part, tokens, renderer, accelerator, config)
                    for part in torch.split(own, -(-len(own) // config.accumulation_steps))
                ]
            stats = _whole(gather_object(parts))
            real = rollouts.response_mask[rows]
            known = explained_variance(rollouts.old_values[rows][real], rollouts.returns[rows][real])
            stats["explained_variance"] = float(known)
            for name, optimizer in optimizers.items():
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                for parameter in parameters if config.shards == 1 else ():  # else they are added up on the way back
                    parameter.grad = accelerator.reduce(parameter.grad, "sum")
                norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
                stats[f"{name}_grad_norm"] = float(whole(norm))
                optimizer.step()
                optimizer.zero_grad()
            for name, number in stats.items():
                totals[name] = totals.get(name, 0.0) + number
            count += 1
    return {name: total / count for name, total in totals.items()}


def _accumulate(
    roles: Roles,
    rollouts: _Rollouts,
    rows: torch.Tensor,
    tokens: int,
    renderer: Renderer,
    accelerator: Accelerator,
    config: PPOConfig,
) -> dict[str, float]:
    """Add the gradients of some rows of a mini-batch that holds `tokens` real tokens. Returns their share of its
    means, and their largest ratio."""
    batch = lay_responses(
        [rollouts.prompts[i] for i in rows],
        [rollouts.responses[i] for i in rows],
        renderer.pad_id,
        roles.row_cost,
        accelerator.device,
    )
    mask, temperature = batch.mask, config.sampling.temperature
    columns = slice(mask.shape[1])
    with autocast(config.dtype):
        logprobs, logits = read_logprobs(roles.policy, batch, temperature)
    sampled, advantages = rollouts.old_logprobs[rows, columns], rollouts.advantages[rows, columns]
    loss, stats = policy_loss(logprobs, sampled, advantages, mask, config.clip_range, denominator=tokens)
    accelerator.backward(loss)
    with autocast(config.dtype):
        values = read_values(roles.value, batch)
    critic_loss = value_loss(
        values,
        rollouts.old_values[rows, columns],
        rollouts.returns[rows, columns],
        mask,
        config.value_clip_range,
        denominator=tokens,
    )
    accelerator.backward(critic_loss)
    share = int(mask.sum()) / tokens
    return {
        **{name: share * float(tensor) for name, tensor in stats.items()},
        "ratio_max": float(stats["ratio_max"]),
        "policy_loss": float(loss.detach()),
        "value_loss": float(critic_loss.detach()),
        "entropy": float(token_entropy(logits.detach() / temperature).sum()) / tokens,
    }


def _whole(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Statistics of a mini-batch from those of its parts: shares of a mean add up, of ratios the largest counts."""
    return {name: (max if name == "ratio_max" else sum)(part[name] for part in parts) for name in parts[0]}


def _draw(prompts: Sequence[PPOPrompt], count: int, iteration: int, seed: int) -> list[PPOPrompt]:
    """The prompts of one iteration: passes over all of them, each pass in its own order."""
    chosen = []
    for place in range(iteration * count, (iteration + 1) * count):
        epoch, index = divmod(place, len(prompts))
        order = torch.randperm(
            len(prompts), generator=torch.Generator().manual_seed(derive_seed(seed, "prompts", epoch))
        )
        chosen.append(prompts[int(order[index])])
    return chosen


def _check(stats: dict[str, float], config: PPOConfig, iteration: int) -> None:
    for name, number in stats.items():
        if not math.isfinite(number):
            raise TrainingDivergedError(f"ppo: {name} is {number} in iteration {iteration + 1}")
    if stats["entropy"] < config.min_entropy:
        raise TrainingDivergedError(
            f"ppo: entropy {stats['entropy']:.4f} nats a token in iteration {iteration + 1}, below {config.min_entropy}"
        )


def _adamw(model: nn.Module, learning_rate: float, config: PPOConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
