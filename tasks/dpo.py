"""Direct preference optimisation in the place of PPO (Llama 3, arXiv 2407.21783, sections 4.1.4 and 4.2.1)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_store.content.row_batches import StoredRows
from models.config import Config, DPOConfig, LoraConfig
from tasks.answers import dialogue_ids, open_renderer
from tasks.engine.step import BASE, Input, Output, StepRun, step
from tasks.held_out import apart, is_held_out
from tasks.train_reward import is_gold, sides

if TYPE_CHECKING:
    from models.dialogue import Renderer
    from models.training.dpo import PreferencePair


class DPOStepConfig(Config):
    """How the policy is trained."""

    training: DPOConfig
    lora: LoraConfig | None = None
    gold_percent: int = Field(default=0, ge=0, le=90, description="Pairs of the gold reward model are left alone")


LEFT_OUT = ("held_out", "gold", "rating", "both_unsafe")  # why pairs are not learned from


@step(
    version=8,
    config=DPOStepConfig,
    inputs={"policy": Input("model"), "preferences": Input("dataset", "preference", many=True), "base": BASE},
    outputs={"policy": Output("model")},
    metrics=(
        *("loss", "pairs", "validation_pairs", "steps", "best_step"),
        *(
            f"best_validation_{name}"
            for name in ("loss", "kl", "dpo_loss", "nll", "accuracy", "margin", "chosen_logprob", "rejected_logprob")
        ),
        *(f"left_out/{reason}" for reason in LEFT_OUT),
    ),
    headline="best_validation_accuracy",
    about="Runs direct preference optimisation on top of the fine-tuned policy.",
    tags=("trainer",),
)
def dpo(run: StepRun, config: DPOStepConfig) -> Mapping[str, float]:
    """Learn the newest preferences, held near the policy that rejection sampling made.

    Pairs that test the reward models or train the gold one are left alone; some of the others are kept to choose the
    best policy by.
    """
    from models.checkpoint import load_policy
    from models.training.dpo import train_dpo

    renderer = open_renderer(run.path("policy"))
    rows, left_out = usable(run.each_row("preferences"), config.training.ratings, config.gold_percent)
    if not rows:
        raise ValueError(
            f"none of the preferences can be learned from: {left_out}; add words to dpo.ratings, raise "
            "dpo.preference_batches, or collect more"
        )
    kept = [is_held_out(row["messages"], config.training.validation_percent, "dpo") for row in rows]
    metrics = train_dpo(
        load_policy(
            run.path("policy"), run.optional_path("base"), lora=config.lora, trainable=True, dtype=config.training.dtype
        ),
        [preference(renderer, row) for row, is_kept in zip(rows, kept, strict=True) if not is_kept],
        [preference(renderer, row) for row, is_kept in zip(rows, kept, strict=True) if is_kept],
        renderer,
        config.training,
        out=run.output("policy"),
        work=run.work,
        seed=run.seed,
        reporter=run,
    )
    run.table("pairs", [{"pairs": name, "number": number} for name, number in {"used": len(rows), **left_out}.items()])
    return {**metrics, **{f"left_out/{reason}": float(number) for reason, number in left_out.items()}}


def usable(
    rows: list[dict[str, Any]] | StoredRows, ratings: tuple[str, ...], gold_percent: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The pairs to learn from, and how many are not, by reason.

    Both answers of a pair can be unsafe; the reward models learn from it that one is less so, but here the policy would
    learn to say it.
    """
    left_out = dict.fromkeys(LEFT_OUT, 0)
    training, _ = apart(rows)
    left_out["held_out"] = len(rows) - len(training)
    used = []
    for row in training:
        if is_gold(row, gold_percent):
            left_out["gold"] += 1
        elif row["rating"] not in ratings:
            left_out["rating"] += 1
        elif row["safety_label"] == "both_unsafe":
            left_out["both_unsafe"] += 1
        else:
            used.append(row)
    return used, left_out


def preference(renderer: "Renderer", row: dict[str, Any]) -> "PreferencePair":
    """A row of preferences as token ids: an end of turn is in a response only where it was said."""
    from models.training.dpo import PreferencePair

    prompt = renderer.prompt(row["messages"])
    chosen, rejected = (dialogue_ids(renderer, *side).input_ids[len(prompt) :] for side in sides(row))
    return PreferencePair(prompt, chosen, rejected)
