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
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from models.algorithms.gae import gae
from models.algorithms.kl import kl_k1, kl_k3, penalize_kl
from models.algorithms.reward import combine_rewards, truncate_rewards, whiten
from models.config import PPOConfig
from models.devices import autocast, has_accelerator, use_threads
from models.dialogue import Renderer
from models.learning_pass import told_of_kernel
from models.roles import Roles
from models.scoring import pad_right
from models.seeds import derive_seed
from models.training.hf import require_finite
from models.training.ppo_looks import is_best, is_too_far, report, standing
from models.training.ppo_update import PPOBatch, adamw, update
from models.training.processes import data_parallel
from models.training.pulse import TrainingDivergedError
from models.training.reporting import Reporter
from models.training.rollouts import PPOPrompt, Rollout, answer
from models.training.sharding import add_up_gradients, as_the_main_one_decides, save_spread, shard
from models.training.state import newest_checkpoint, read_checkpoint, write_checkpoint

MEETING = InitProcessGroupKwargs(timeout=timedelta(minutes=30))
"""So long processes wait for each other, as for one that writes a checkpoint; over NCCL it would be a third of that."""


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
    accelerator = Accelerator(cpu=not has_accelerator(), kwargs_handlers=[MEETING])
    weight_bytes, here = roles.weight_bytes(), accelerator.is_main_process
    _place(roles, accelerator.device, config)
    optimizers = {
        "policy": adamw(roles.policy, config.learning_rate, config),
        "value": adamw(roles.value, config.value_learning_rate, config),
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
        last |= update(roles, optimizers, rollouts, renderer, accelerator, config, seed=learning)
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
) -> tuple[PPOBatch, dict[str, float]]:
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
    told = dict[str, float]()
    if roles.server is not None:
        drawn_logprobs = columns([found.drawn_logprobs for found in answers])
        weights, told = roles.server.held_against(drawn_logprobs, old_logprobs, response_mask, config.dtype)
        # a weight is no less than 0, so it can stand inside the clipped loss of its token, which is linear in A
        advantages = advantages if weights is None else weights * advantages

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
        **told,
    }
    prompts = [prompt.ids for prompt in batch]
    return PPOBatch(
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
