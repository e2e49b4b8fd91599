"""The two reward models of an iteration (Llama 2, section 3.2.2), each on all preferences so far, and the gold one.

What is optimised against a reward model pleases it more than it pleases people (Gao et al., "Scaling Laws for Reward
Model Overoptimization", arXiv 2210.10760). The gold reward model learns from pairs that no other model learns from, and
only judges: where the optimised reward rises and its does not, the policy has found the reward model's faults.
"""

import random
from collections.abc import Callable
from typing import Any

from data_store.estimate import Estimate
from data_store.rows import RATINGS
from models.config import Config, LoraConfig, RewardConfig
from models.training.reporting import SPEED
from tasks.answers import Dialogue, dialogue_ids, open_renderer, sides_of
from tasks.engine.step import BASE, Input, Measurements, Output, StepRun, step
from tasks.estimates import annotators_of, rate_of
from tasks.held_out import apart, is_held_out
from tasks.safety_level import write_level
from tasks.sampling import score


class RewardStepConfig(Config):
    """How a reward model is trained."""

    training: RewardConfig
    lora: LoraConfig | None = None


CHANCE = 0.5  # the accuracy of guessing which of two answers is the better one
METRICS = ("loss", SPEED, "pairs", "steps", *(f"accuracy/{rating}" for rating in ("all", *RATINGS)))


INPUTS = {
    "policy": Input("model"),
    "preferences": Input("dataset", "preference", many=True),
    "base": BASE,
}


@step(
    version=7,
    config=RewardStepConfig,
    inputs=INPUTS,
    outputs={"reward": Output("model")},
    metrics=(*METRICS, "labelled/safe", "labelled/unsafe"),
    headline="accuracy/all",
    about="Trains the safety reward model of one iteration.",
    tags=("trainer",),
)
def train_safety_reward(run: StepRun, config: RewardStepConfig) -> Measurements:
    """All safety pairs, some helpfulness pairs, the auxiliary safety loss."""
    return _train_axis(run, config, "safety", config.training.safety_other_share)


@step(
    version=7,
    config=RewardStepConfig,
    inputs=INPUTS,
    outputs={"reward": Output("model")},
    metrics=METRICS,
    headline="accuracy/all",
    about="Trains the helpfulness reward model of one iteration.",
    tags=("trainer",),
)
def train_helpfulness_reward(run: StepRun, config: RewardStepConfig) -> Measurements:
    """All helpfulness pairs, some safety pairs."""
    return _train_axis(run, config, "helpfulness", config.training.helpfulness_other_share)


@step(
    version=6,
    config=RewardStepConfig,
    inputs=INPUTS,
    outputs={"reward": Output("model")},
    metrics=METRICS,
    headline="accuracy/all",
    about="Trains the reward model that nothing is optimised against.",
    tags=("trainer",),
)
def train_gold_reward(run: StepRun, config: RewardStepConfig) -> Measurements:
    """The pairs of both axes that are kept from every other model."""
    training, held_out = apart(run.each_row("preferences"))
    training = [row for row in training if is_gold(row, config.training.gold_percent)]
    if not training:
        raise ValueError("no pair is left for the gold reward model: raise reward.gold_percent or collect more")
    return _train(run, config, training, held_out, safety=False)


def is_gold(row: dict[str, Any], percent: int) -> bool:
    """Whether a pair is kept for the gold reward model. By prompt: other pairs on it would tell the same."""
    return is_held_out(row["messages"], percent, "gold")


def _train_axis(run: StepRun, config: RewardStepConfig, axis: str, other_share: float) -> Measurements:
    training, held_out = apart(run.each_row("preferences"))
    training = [row for row in training if not is_gold(row, config.training.gold_percent)]
    if config.training.unlabelled_safety_pairs == "rejected_is_unsafe":
        training = [_labelled(row) for row in training]
    training = mix(training, axis, other_share, run.seed)
    if not any(row["axis"] == axis for row in training):
        raise ValueError(f"there is no {axis} pair to learn from: collect or import some")
    tested = [row for row in held_out if row["axis"] == axis]
    return _train(run, config, training, tested, safety=axis == "safety")


def _labelled(row: dict[str, Any]) -> dict[str, Any]:
    """A safety pair without a label, with that of a pair of which the better answer is safe and the other is not."""
    if row["axis"] != "safety" or row["safety_label"]:
        return row
    return {**row, "safety_label": "chosen_safe_other_unsafe"}


def _train(
    run: StepRun,
    config: RewardStepConfig,
    training: list[dict[str, Any]],
    held_out: list[dict[str, Any]],
    *,
    safety: bool,
) -> Measurements:
    from models.checkpoint import load_reward, reward_from_policy
    from models.config import SamplingConfig
    from models.training.reward import Pair, train_reward

    renderer = open_renderer(run.path("policy"))

    def pair(row: dict[str, Any]) -> Pair:
        chosen, rejected = sides(row)
        return Pair(
            dialogue_ids(renderer, *chosen).input_ids,
            dialogue_ids(renderer, *rejected).input_ids,
            row["rating"],
            row["safety_label"],
        )

    model = reward_from_policy(
        run.path("policy"), run.optional_path("base"), lora=config.lora, seed=run.seed, dtype=config.training.dtype
    )
    metrics = train_reward(
        model,
        [pair(row) for row in training],
        renderer,
        config.training,
        safety=safety,
        out=run.output("reward"),
        work=run.work,
        seed=run.seed,
        reporter=run,
    )
    if config.training.processes > 1:  # they trained copies of it
        model = load_reward(run.output("reward"), run.optional_path("base"))
    level = write_level(run.output("reward"), training if safety else ())
    if safety and not all(level.values()):
        run.log(
            "no safe and unsafe responses are labelled: the safety score has an order, and no level to compare with"
        )
    accuracies = accuracy_by_rating(model, renderer, held_out, SamplingConfig())
    run.table(
        "accuracy",
        [
            {"rating": rating, "accuracy": each.value, "pairs": each.n, "from": each.low, "to": each.high}
            for rating, each in accuracies.items()
        ],
    )
    labelled = {f"labelled/{name}": float(number) for name, number in level.items()} if safety else {}
    return {**metrics, **labelled, **{f"accuracy/{rating}": each for rating, each in accuracies.items()}}


def mix(rows: list[dict[str, Any]], axis: str, other_share: float, seed: int) -> list[dict[str, Any]]:
    """All pairs of `axis`, and as many others, drawn uniformly, as make `other_share` of the whole (or all there
    are)."""
    own = [row for row in rows if row["axis"] == axis]
    others = [row for row in rows if row["axis"] != axis]
    wanted = min(len(others), round(len(own) * other_share / (1 - other_share)))
    return own + random.Random(seed).sample(others, wanted)


def sides(row: dict[str, Any]) -> tuple[Dialogue, Dialogue]:
    """(chosen, rejected) of a preference row."""
    a, b = sides_of(row)
    return (a, b) if row["chosen"] == "a" else (b, a)


def accuracy_by_rating(
    model: Any,
    renderer: Any,
    rows: list[dict[str, Any]],
    sampling: Any,
    on_progress: Callable[[float], None] | None = None,
) -> dict[str, Estimate]:
    """rating → share of pairs whose chosen response scores higher; a tie counts half. `all` pools them."""
    dialogues = [side for row in rows for side in sides(row)]
    scores = [value for (value,) in score([model], renderer, dialogues, sampling, on_progress)]
    hits: dict[str, list[float]] = {}
    judged: dict[str, list[dict[str, Any]]] = {}
    for i, row in enumerate(rows):
        chosen, rejected = scores[2 * i], scores[2 * i + 1]
        hit = 0.5 if chosen == rejected else float(chosen > rejected)
        for key in (row["rating"], "all"):
            hits.setdefault(key, []).append(hit)
            judged.setdefault(key, []).append(row)
    order = ("significantly_better", "better", "slightly_better", "negligibly_better", "all")
    return {key: rate_of(hits[key], annotators_of(judged[key])) for key in order if key in hits}
