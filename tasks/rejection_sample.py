"""Rejection sampling (Llama 2, section 3.2.3): draw K responses, score them, keep the best over all iterations."""

import random
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from data_store.figures import figure
from models.config import Config, SafetyThreshold, SamplingConfig
from models.seeds import derive_seed
from tasks.answers import answered, open_renderer, response_of, row_id
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.safety_level import threshold_of
from tasks.sampling import draw, score

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer


REWARDS = {"safety_reward": "safety", "helpfulness_reward": "helpfulness"}  # role → the axis that it scores


class RejectionConfig(Config):
    """How candidates are drawn and chosen."""

    prompts: int = Field(default=240, ge=1, description="Prompts of this iteration")
    safety_share: float = Field(default=0.33, ge=0, le=1, description="Share of adversarial prompts among them")
    repeat_share: float = Field(
        default=0.25, ge=0, le=1, description="Share of prompts taken up again from earlier iterations"
    )
    temperatures: tuple[float, ...] = Field(
        default=(0.7, 1.0, 1.2), min_length=1, description="Each draws its own samples"
    )
    samples: int = Field(
        default=3, ge=1, description="Responses per prompt and temperature; K is this times the temperatures"
    )
    keep: int = Field(default=2, ge=1, description="Best responses per prompt and iteration that stay in the pool")
    safety_threshold: SafetyThreshold = 0.15
    unfinished: Literal["leave_out", "score"] = Field(
        default="leave_out",
        description="Candidates that were cut at max_new_tokens. leave_out: neither kept nor picked, so no answer is "
        "learned that never ends; score: they compete by the score of what there is of them, and are learned without "
        "an end",
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the candidates are drawn")


@step(
    version=5,
    config=RejectionConfig,
    inputs={
        "policy": Input("model"),
        "safety_reward": Input("model"),
        "helpfulness_reward": Input("model"),
        "prompts": Input("dataset", "prompt"),
        "candidates": Input("dataset", "response", optional=True, many=True),
        "base": BASE,
    },
    outputs={
        "candidates": Output("dataset", "response"),
        "scores": Output("dataset", "score"),
        "picks": Output("dataset", "dialogue"),
    },
    metrics=(
        *("candidates", "finished", "prompts/without_finished", "pool", "picks", "picks/from_earlier_iterations"),
        *("reward/max_minus_median", "reward/picks", "reward/mean", "safety_threshold"),
    ),
    headline="reward/max_minus_median",
    about="Samples, scores and selects answers, over all iterations.",
    tags=("data",),
)
def rejection_sample(run: StepRun, config: RejectionConfig) -> Mapping[str, float]:
    """Candidates of this iteration, scores of all candidates under the newest reward models, the best one per
    prompt."""
    from models.algorithms.selection import best_per_prompt, top_n_per_group
    from models.checkpoint import load_policy, load_reward

    base = run.optional_path("base")
    renderer = open_renderer(run.path("policy"))
    prompts = {row["prompt_id"]: row for row in run.records("prompts") if row["split"] == "train"}
    # a prompt of a red team may be out by now: the config asks for other ones than when it was answered
    earlier = [row for row in run.records("candidates") if row["prompt_id"] in prompts and _may_stay(row, config)]
    batch = _batch(config, prompts, {row["prompt_id"] for row in earlier}, run.seed)

    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)
    drawn = _draw(run, config, policy, renderer, batch)
    able = [i for i, row in enumerate(drawn) if _may_stay(row, config)]
    if not able and not earlier:
        raise ValueError(
            f"none of {len(drawn)} candidates ended within {config.sampling.max_new_tokens} tokens, and there is none "
            "to pick: raise rejection.sampling.max_new_tokens, or set rejection.unfinished: score to learn cut answers"
        )
    models = [load_reward(run.path(role), base, dtype=config.sampling.dtype) for role in REWARDS]
    everything = earlier + drawn
    threshold = threshold_of(run.path("safety_reward"), config.safety_threshold)
    raw = score(models, renderer, list(map(response_of, everything)), config.sampling)
    combined = _combine(everything, raw, prompts, threshold)
    of_drawn = combined[len(earlier) :]
    best_of_able = top_n_per_group(
        [drawn[i]["prompt_id"] for i in able],
        [of_drawn[i] for i in able],
        [drawn[i]["response_id"] for i in able],
        config.keep,
    )
    kept = [able[k] for k in best_of_able]
    pool = list(range(len(earlier))) + [len(earlier) + i for i in kept]
    best = best_per_prompt(
        [everything[i]["prompt_id"] for i in pool],
        [combined[i] for i in pool],
        [everything[i]["response_id"] for i in pool],
    )
    picks = [everything[pool[i]] for i in best]

    run.write_rows("candidates", [drawn[i] for i in kept])
    run.write_rows("scores", [row for i in pool for row in _scores(run, everything[i]["response_id"], raw[i])])
    run.write_rows("picks", [_picked(pick, prompts[pick["prompt_id"]]["axis"]) for pick in picks])
    curves = reward_against_samples(drawn, of_drawn, config)
    run.table("reward-against-samples", curves)
    k8 = max(
        (row for row in curves if row["samples"] <= 8 and row["temperature"] == "all"), key=lambda row: row["samples"]
    )
    return {
        "candidates": float(len(drawn)),
        "finished": statistics.fmean(row["finished"] for row in drawn),
        "prompts/without_finished": float(len(batch) - len({row["prompt_id"] for row in drawn if row["finished"]})),
        "pool": float(len(pool)),
        "picks": float(len(picks)),
        "picks/from_earlier_iterations": sum(pick["iteration"] != run.part for pick in picks) / len(picks),
        "reward/max_minus_median": k8["max"] - k8["median"],
        "reward/picks": statistics.fmean(combined[pool[i]] for i in best),
        "reward/mean": statistics.fmean(of_drawn),
        "safety_threshold": threshold,
    }


def _draw(
    run: StepRun, config: RejectionConfig, policy: "nn.Module", renderer: "Renderer", batch: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The candidates: rows of kind response, with the `messages` that they answer."""
    seed, samples = derive_seed(run.seed, "candidates"), config.samples
    answers = draw(
        policy,
        renderer,
        [prompt["messages"] for prompt in batch],
        config.sampling,
        temperatures=[temperature for temperature in config.temperatures for _ in range(samples)],
        seed=seed,
        on_progress=lambda done: run.progress(0.6 * done, "drawing candidates"),
    )
    return [
        {
            "response_id": row_id(run.part, prompt["prompt_id"], temperature, k),
            "prompt_id": prompt["prompt_id"],
            "iteration": run.part,
            "policy_version": run.version("policy"),
            "temperature_milli": round(1000 * temperature),
            "seed": seed,
            "text": response.text,
            **response.columns(),
            "messages": prompt["messages"],
        }
        for number, temperature in enumerate(config.temperatures)
        for prompt, responses in zip(batch, answers, strict=True)
        for k, response in enumerate(responses[number * samples : (number + 1) * samples])
    ]


def _scores(run: StepRun, response_id: str, values: tuple[float, ...]) -> list[dict[str, Any]]:
    """What the reward models say of one candidate: rows of kind score."""
    return [
        {"response_id": response_id, "reward_version": run.version(role), "kind": kind, "value": value}
        for (role, kind), value in zip(REWARDS.items(), values, strict=True)
    ]


def _picked(pick: dict[str, Any], axis: str) -> dict[str, Any]:
    """A candidate as a dialogue to learn from."""
    return {
        "dialogue_id": pick["response_id"],
        "source": f"rejection_sample@{pick['iteration']}",
        "kind": axis,
        "messages": answered(pick["messages"], pick["text"]),
        **{name: pick[name] for name in ("token_ids", "finished", "tokenizer")},
    }


def _may_stay(row: dict[str, Any], config: RejectionConfig) -> bool:
    """Whether a candidate may be kept and picked."""
    return bool(row["finished"]) or config.unfinished == "score"


def _batch(
    config: RejectionConfig, prompts: dict[str, dict[str, Any]], seen: set[str], seed: int
) -> list[dict[str, Any]]:
    """This iteration's prompts: some that earlier iterations answered, the rest new, safety and helpfulness by
    share."""
    rng = random.Random(seed)
    batch: list[dict[str, Any]] = []
    safety = round(config.prompts * config.safety_share)
    for axis, count in (("safety", safety), ("helpfulness", config.prompts - safety)):
        pool = [row for row in prompts.values() if row["axis"] == axis]
        old = [row for row in pool if row["prompt_id"] in seen]
        new = [row for row in pool if row["prompt_id"] not in seen]
        again = rng.sample(old, min(len(old), round(count * config.repeat_share)))
        batch += again + rng.sample(new, min(len(new), count - len(again)))
    return batch


def _combine(
    rows: list[dict[str, Any]],
    raw: list[tuple[float, ...]],
    prompts: dict[str, dict[str, Any]],
    threshold: float,
) -> list[float]:
    import torch

    from models.algorithms.reward import combine_rewards

    safety, helpfulness = (torch.tensor(column) for column in zip(*raw, strict=True))
    is_safety = torch.tensor([prompts[row["prompt_id"]]["axis"] == "safety" for row in rows])
    values: list[float] = combine_rewards(safety, helpfulness, is_safety, threshold).tolist()
    return values


def reward_against_samples(
    rows: list[dict[str, Any]], rewards: list[float], config: RejectionConfig
) -> list[dict[str, Any]]:
    """Max and median reward of the first N responses, cut ones too, mean over prompts (Llama 2, figures 7 and 8), by
    temperature.

    In the row of all temperatures these take turns, so that no small N stands for one of them alone.
    """
    turns: dict[tuple[str, int], int] = {}
    place = []
    for row in rows:
        key = (row["prompt_id"], row["temperature_milli"])
        turns[key] = turns.get(key, -1) + 1
        place.append(turns[key])
    order = sorted(range(len(rows)), key=lambda i: place[i])
    rows, rewards = [rows[i] for i in order], [rewards[i] for i in order]
    table = []
    groups: dict[str, list[float]] = {}
    for temperature in (None, *(round(1000 * t) for t in config.temperatures)):
        groups = {}
        for row, reward in zip(rows, rewards, strict=True):
            if temperature in (None, row["temperature_milli"]):
                groups.setdefault(row["prompt_id"], []).append(reward)
        for n in sorted({2**k for k in range(8)} & set(range(1, 1 + min(map(len, groups.values()))))):
            firsts = [values[:n] for values in groups.values()]
            table.append(
                {
                    "temperature": "all" if temperature is None else figure(temperature / 1000),
                    "samples": n,
                    "max": statistics.fmean(map(max, firsts)),
                    "median": statistics.fmean(map(statistics.median, firsts)),
                }
            )
    return table
