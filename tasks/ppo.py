"""PPO on top of rejection sampling (Llama 2, section 3.2.3)."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from models.config import Config, LoraConfig, PPOConfig
from models.samplers.config import version_of
from tasks.answers import open_renderer
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.safety_level import threshold_of
from tasks.sampling import policy_server

if TYPE_CHECKING:
    from models.dialogue import Renderer
    from models.training.ppo_looks import Look
    from tasks.engine.call import StepCall

Rows = list[dict[str, Any]]


class PPOStepConfig(Config):
    """How the policy is trained."""

    training: PPOConfig
    lora: LoraConfig | None = None


def _metrics(call: "StepCall") -> tuple[str, ...]:
    sampler = ("sampler_gap", "sampler_gap_max", "sampler_weighted")
    return (
        *("kl", "kl_k3", "approx_kl", "reward", "reward_std", "safety_reward", "entropy", "length", "finished"),
        *("clip_fraction", "ratio_mean", "ratio_max", "policy_loss", "policy_grad_norm"),
        *("value_loss", "value_grad_norm", "explained_variance"),
        *("iterations", "best_iteration", "best_validation_reward", "beyond_kl_limit", "weights_mb"),
        *(() if version_of(cast(PPOStepConfig, call.config).training.sampling) is None else sampler),
        "safety_threshold",
    )


@step(
    version=10,
    config=PPOStepConfig,
    inputs={
        "policy": Input("model"),
        "safety_reward": Input("model"),
        "helpfulness_reward": Input("model"),
        "prompts": Input("dataset", "prompt"),
        "base": BASE,
    },
    outputs={"policy": Output("model"), "looks": Output("dataset", "look")},
    metrics=_metrics,
    headline="best_validation_reward",
    about="Runs PPO on top of the fine-tuned policy.",
    tags=("trainer",),
)
def ppo(run: StepRun, config: PPOStepConfig) -> Mapping[str, float]:
    """Maximise the combined reward, held near the policy that rejection sampling made."""
    from models.roles import open_roles
    from models.training.ppo import train_ppo
    from models.training.ppo_looks import looks_below
    from models.training.rollouts import PPOPrompt

    renderer = open_renderer(run.path("policy"))
    threshold = threshold_of(run.path("safety_reward"), config.training.safety_threshold)
    rng = random.Random(run.seed)
    prompts = run.records("prompts")

    def take(split: str, count: int) -> Rows:
        chosen: Rows = []
        safety = round(count * config.training.safety_share)
        for axis, number in (("safety", safety), ("helpfulness", count - safety)):
            pool = [row for row in prompts if row["split"] == split and row["axis"] == axis]
            chosen += rng.sample(pool, min(number, len(pool)))
        rng.shuffle(chosen)
        return chosen

    def rendered(rows: Rows) -> list[PPOPrompt]:
        return [PPOPrompt(renderer.prompt(row["messages"]), row["axis"] == "safety") for row in rows]

    training = take("train", config.training.iterations * config.training.batch_size)
    validation = take("validation", config.training.validation_prompts)

    roles = open_roles(
        policy=run.path("policy"),
        safety=run.path("safety_reward"),
        helpfulness=run.path("helpfulness_reward"),
        base=run.optional_path("base"),
        lora=config.lora,
        dtype=config.training.dtype,
    )
    with policy_server(run, config.training) as server:
        metrics = train_ppo(
            replace(roles, server=server),
            rendered(training),
            rendered(validation),
            renderer,
            config.training.model_copy(update={"safety_threshold": threshold}),
            out=run.output("policy"),
            work=run.work,
            seed=run.seed,
            reporter=run,
        )
    if run.wants("looks"):
        run.write_rows("looks", [row for look in looks_below(run.work) for row in _rows(look, validation, renderer)])
    return {**metrics, "safety_threshold": threshold}


def _rows(look: "Look", prompts: Rows, renderer: "Renderer") -> Rows:
    """The answers of a look: rows of kind look."""
    return [
        {
            "training_step": look.iteration,
            **{name: prompt[name] for name in ("prompt_id", "axis", "messages")},
            "text": renderer.response(ids),
            "token_ids": ids,
            "finished": bool(ids) and ids[-1] in renderer.end_ids,
            "tokenizer": renderer.identity,
            "reward": reward,
            "kl": kl,
        }
        for prompt, ids, reward, kl in zip(prompts, look.ids, look.rewards, look.kl, strict=True)
    ]
