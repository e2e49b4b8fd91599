"""Rejection sampling (Llama 2, section 3.2.3): draw K responses, score them, keep the best over all iterations."""

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from data_store.estimate import Estimate
from models.config import Config, SafetyThreshold, SamplingConfig
from tasks.answers import answered, open_renderer, response_of
from tasks.candidates import Rows, combined, draw_candidates, scored_again
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.estimates import mean_of, score_of
from tasks.reward_curves import JUDGE, metrics_of, names_of, reward_curves, table_of
from tasks.safety_level import threshold_of
from tasks.sampling import Speaker, score, speakers
from tasks.temperature_tuning import AUTO, Temperature, TuningConfig, tuned_temperature

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer
    from tasks.engine.call import StepCall


REWARDS = {"safety_reward": "safety", "helpfulness_reward": "helpfulness"}  # role → the axis that it scores


class RejectionConfig(Config):
    """How candidates are drawn and chosen."""

    prompts: int = Field(default=240, ge=1, description="Prompts of this iteration")
    safety_share: float = Field(default=0.33, ge=0, le=1, description="Share of adversarial prompts among them")
    repeat_share: float = Field(
        default=0.25, ge=0, le=1, description="Share of prompts taken up again from earlier iterations"
    )
    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1)] | Literal["auto"] = Field(
        default=(0.7, 1.0, 1.2), description="Each draws its own samples; auto: one, found anew in each iteration"
    )
    tuning: TuningConfig = Field(default=TuningConfig(), description="How `temperatures: auto` finds it")
    samples: int = Field(
        default=3,
        ge=1,
        description="Responses per prompt and temperature; K is this times the temperatures, with auto this alone",
    )
    keep: int = Field(default=2, ge=1, description="Best responses per prompt and iteration that stay in the pool")
    score_again: int = Field(
        default=2400,
        ge=0,
        description="Most candidates of earlier iterations that the new reward models score. Where there are more, "
        "those of prompts that are answered anew, then those of prompts drawn by chance; at the others the choice "
        "among them stays as it was. Where there are no more, every choice is made anew",
    )
    safety_threshold: SafetyThreshold = 0.15
    unfinished: Literal["leave_out", "score"] = Field(
        default="leave_out",
        description="Candidates that were cut at max_new_tokens. leave_out: neither kept nor picked, so no answer is "
        "learned that never ends; score: they compete by the score of what there is of them, and are learned without "
        "an end",
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the candidates are drawn")


def _metrics_of(call: "StepCall") -> Iterator[str]:
    config: Any = call.config  # a RejectionConfig
    yield from ("candidates", "finished", "prompts/without_finished", "pool", "picks", "picks/from_earlier_iterations")
    yield from ("picks/not_chosen_anew", "scored_again")
    yield from ("reward/max_minus_median", "reward/picks", "reward/mean", "safety_threshold")
    if config.temperatures != AUTO:
        yield from names_of("reward", config.temperatures, config.samples)
        return
    yield from ("temperature", "temperature/lead")
    for temperature in config.tuning.grid:  # which one it will be is not known yet
        yield from names_of("tuning", (temperature,), config.samples)
        yield from names_of("reward", (temperature,), config.samples)


@step(
    version=8,
    config=RejectionConfig,
    inputs={
        "policy": Input("model"),
        "safety_reward": Input("model"),
        "helpfulness_reward": Input("model"),
        "prompts": Input("dataset", "prompt"),
        "candidates": Input("dataset", "response", optional=True, many=True),
        "earlier_picks": Input("dataset", "dialogue", optional=True),
        "base": BASE,
    },
    outputs={
        "candidates": Output("dataset", "response"),
        "scores": Output("dataset", "score"),
        "picks": Output("dataset", "dialogue"),
    },
    metrics=_metrics_of,
    headline="reward/max_minus_median",
    about="Samples, scores and selects answers, over all iterations.",
    tags=("data",),
    spreads=True,
)
def rejection_sample(run: StepRun, config: RejectionConfig) -> Measurements:
    """Candidates of this iteration, scores of theirs and of earlier ones under the newest reward models, the best one
    per prompt."""
    from models.algorithms.selection import best_per_prompt, top_n_per_group
    from models.checkpoint import load_policy, load_reward

    base = run.optional_path("base")
    renderer = open_renderer(run.path("policy"))
    prompts = {row["prompt_id"]: row for row in run.records("prompts") if row["split"] == "train"}
    # a prompt of a red team may be out by now: the config asks for other ones than when it was answered
    earlier = [row for row in run.records("candidates") if row["prompt_id"] in prompts and _may_stay(row, config)]
    batch = _batch(config, prompts, {row["prompt_id"] for row in earlier}, run.seed)

    policy = load_policy(run.path("policy"), base, dtype=config.sampling.dtype)

    @cache
    def reward_models() -> "list[nn.Module]":
        return [load_reward(run.path(role), base, dtype=config.sampling.dtype) for role in REWARDS]

    threshold = threshold_of(run.path("safety_reward"), config.safety_threshold)
    with speakers(run, config.sampling) as speaker_of:
        speaker = speaker_of("policy", policy)
        temperatures, tuned = _temperatures(run, config, speaker, reward_models, renderer, threshold)
        progress = (0.3 if tuned else 0, 0.6)
        drawn = draw_candidates(
            run, speaker, renderer, batch, config.sampling, temperatures, config.samples, progress=progress
        )
    able = [i for i, row in enumerate(drawn) if _may_stay(row, config)]
    if not able and not earlier:
        raise ValueError(
            f"none of {len(drawn)} candidates ended within {config.sampling.max_new_tokens} tokens, and there is none "
            "to pick: raise rejection.sampling.max_new_tokens, or set rejection.unfinished: score to learn cut answers"
        )
    again, standing = _again(run, config, earlier, {row["prompt_id"] for row in batch})
    everything = again + drawn
    heard = run.part_of_rest(0.9, "scoring candidates")
    raw = score(reward_models(), renderer, list(map(response_of, everything)), config.sampling, heard)
    rewards = combined(everything, raw, prompts, threshold)
    of_drawn = rewards[len(again) :]
    best_of_able = top_n_per_group(
        [drawn[i]["prompt_id"] for i in able],
        [of_drawn[i] for i in able],
        [drawn[i]["response_id"] for i in able],
        config.keep,
    )
    kept = [able[k] for k in best_of_able]
    pool = list(range(len(again))) + [len(again) + i for i in kept]
    best = best_per_prompt(
        [everything[i]["prompt_id"] for i in pool],
        [rewards[i] for i in pool],
        [everything[i]["response_id"] for i in pool],
    )
    picks = [everything[pool[i]] for i in best] + standing

    run.write_rows("candidates", [drawn[i] for i in kept])
    run.write_rows("scores", [row for i in pool for row in _scores(run, everything[i]["response_id"], raw[i])])
    run.write_rows("picks", [_picked(pick, prompts[pick["prompt_id"]]["axis"]) for pick in picks])
    curves = reward_curves(drawn, of_drawn, temperatures)
    run.table("reward-against-samples", table_of(curves))
    of_all = [point for point in curves if len(temperatures) == 1 or point.temperature is None]
    k8 = max((point for point in of_all if point.samples <= 8), key=lambda point: point.samples)
    return {
        "candidates": float(len(drawn)),
        "finished": score_of(_by_prompt(drawn, [float(row["finished"]) for row in drawn])),
        "prompts/without_finished": float(len(batch) - len({row["prompt_id"] for row in drawn if row["finished"]})),
        "pool": float(len(earlier) + len(kept)),
        "scored_again": float(len(again)),
        "picks": float(len(picks)),
        "picks/from_earlier_iterations": sum(pick["iteration"] != run.part for pick in picks) / len(picks),
        "picks/not_chosen_anew": len(standing) / len(picks),
        "reward/max_minus_median": k8.spread,
        **({"reward/picks": mean_of([rewards[pool[i]] for i in best], JUDGE)} if best else {}),
        "reward/mean": mean_of(_by_prompt(drawn, of_drawn), JUDGE),
        "safety_threshold": threshold,
        **tuned,
        **metrics_of(curves, "reward"),
    }


def _again(run: StepRun, config: RejectionConfig, earlier: Rows, answered: set[str]) -> tuple[Rows, Rows]:
    """Of the candidates of earlier iterations those that are scored, and the picks of before that stand unscored."""
    before = {row["dialogue_id"] for row in run.each_row("earlier_picks")}
    chosen = {row["prompt_id"]: row for row in earlier if row["response_id"] in before}
    asked = scored_again(
        Counter(row["prompt_id"] for row in earlier), chosen.keys() - answered, config.score_again, run.seed
    )
    again = [row for row in earlier if row["prompt_id"] in asked]
    return again, [row for prompt_id, row in chosen.items() if prompt_id not in asked]


def _temperatures(
    run: StepRun,
    config: RejectionConfig,
    policy: Speaker,
    reward_models: "Callable[[], list[nn.Module]]",
    renderer: "Renderer",
    threshold: float,
) -> tuple[tuple[float, ...], dict[str, float | Estimate]]:
    """Those of the config, or the one that is best today, with what was measured to find it."""
    if config.temperatures != AUTO:
        return config.temperatures, {}
    chosen, measured = tuned_temperature(
        run,
        config.tuning,
        config.sampling,
        policy,
        reward_models(),
        renderer,
        samples=config.samples,
        safety_share=config.safety_share,
        threshold=threshold,
        cut_counts=config.unfinished == "score",
    )
    return (chosen,), measured


def _by_prompt(rows: Sequence[Mapping[str, Any]], values: Sequence[float]) -> list[float]:
    """The mean of each prompt's values: answers to one prompt are alike, so that it is prompts that count in an
    interval."""
    groups: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        groups.setdefault(row["prompt_id"], []).append(value)
    return list(map(statistics.fmean, groups.values()))


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
