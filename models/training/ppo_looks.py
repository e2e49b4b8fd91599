"""Looks at held-out prompts between the iterations of PPO: which policy is kept, when it has gone too far, and what it
said at each; and what is told of an iteration.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.algorithms.kl import kl_k1
from models.config import PPOConfig
from models.training.reporting import Reporter

_FOLDER = "looks"


@dataclass(frozen=True)
class Look:
    """The answers to all validation prompts, in order, after so many iterations: their ids, their combined raw rewards,
    and log pi(answer) - log pi_0(answer) of each, in nats."""

    iteration: int
    ids: list[list[int]]
    rewards: list[float]
    kl: list[float]


def keep_look(
    work: Path,
    iteration: int,
    answers: Sequence[Sequence[int]],
    mask: torch.Tensor,
    logprobs: torch.Tensor,
    ref_logprobs: torch.Tensor,
    scores: torch.Tensor,
) -> None:
    """Write a look below `work`, whole or not at all. `answers`: B lists of at most T ids; `mask`, `logprobs`,
    `ref_logprobs`: (B, T); `scores`: (B,). A training that goes on from a checkpoint looks again with the same random
    numbers, and writes the same."""
    kl = (kl_k1(logprobs, ref_logprobs) * mask).sum(1).tolist()
    folder = work / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "writing"
    temporary.write_text(json.dumps(asdict(Look(iteration, list(map(list, answers)), scores.tolist(), kl))))
    temporary.replace(folder / f"{iteration:06d}.json")


def looks_below(work: Path) -> Sequence[Look]:
    """All that were kept, in the order of their iterations."""
    return [Look(**json.loads(file.read_text())) for file in sorted((work / _FOLDER).glob("*.json"))]


def is_best(stats: dict[str, float], config: PPOConfig, state: dict[str, float], reporter: Reporter) -> bool:
    """Whether the objective on held-out prompts, with the same random numbers each time, is the best so far, within
    the limit of KL. Point k of its curves is the policy that iteration k begins with.

    It is the one that is trained, whitened reward minus kl_coef · KL, but whitened by one deviation for all looks, that
    of the first: each batch's own would set every mean to 0.
    """
    reporter.metric("ppo/validation_reward", stats["reward"], int(state["iteration"]) + 1)
    reporter.metric("ppo/validation_reward_std", stats["reward_std"], int(state["iteration"]) + 1)
    reporter.metric("ppo/validation_kl", stats["kl"], int(state["iteration"]) + 1)
    state.setdefault("deviation", max(stats["reward_std"], config.min_reward_std, 1e-8))
    objective = stats["reward"] / state["deviation"] - config.kl_coef * stats["kl"]
    if objective > state["best"] and stats["kl"] <= config.kl_limit:
        state |= {"best": objective, "best_reward": stats["reward"], "best_iteration": state["iteration"]}
        state["looks_without_gain"] = 0
        return True
    state["looks_without_gain"] += 1
    return False


def is_too_far(stats: dict[str, float], config: PPOConfig, state: dict[str, float], reporter: Reporter) -> bool:
    """Whether the policy has left the reference further behind than `kl_limit` allows, which is said."""
    if stats["kl"] <= config.kl_limit:
        return False
    reporter.log(
        f"ppo: KL {stats['kl']:.2f} nats a response in iteration {state['iteration']}, limit {config.kl_limit}; "
        f"stopped, the policy of iteration {state['best_iteration']} is kept"
    )
    return True


def report(stats: dict[str, float], iteration: int, reporter: Reporter) -> None:
    """Every figure of an iteration as a point of its curve."""
    for name, number in stats.items():
        reporter.metric(f"ppo/{name}", number, iteration + 1)


def standing(stats: dict[str, float], iteration: int, config: PPOConfig, left: float) -> str:
    """Where the training is, in a line; `left` in seconds."""
    done = f"ppo {iteration + 1}/{config.iterations}"
    return f"{done}, reward {stats['reward']:.2f}, KL {stats['kl']:.3f}, {left:.0f} s left"
