"""The policy of an iteration: fine-tuned on the best responses, on what safety context distillation keeps, on Ghost
Attention dialogues, and on some demonstrations."""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from models.config import Config, LoraConfig, SFTConfig
from models.training.reporting import SPEED
from tasks.answers import Dialogue, dialogue_ids, last_answer_of, open_renderer, rendered
from tasks.base_findings import FINDINGS, packs
from tasks.engine.step import BASE, Input, Output, StepRun, step

if TYPE_CHECKING:
    from models.dialogue import Rendered, Renderer


class FineTuneConfig(Config):
    """What the policy learns from in each iteration."""

    picks: int = Field(default=360, ge=1, description="Best responses over all iterations, one per prompt")
    replay: int = Field(default=60, ge=0, description="Demonstrations mixed in, so that old abilities stay")
    replay_kinds: tuple[str, ...] = Field(default=(), description="Kinds of demonstrations to draw from; empty: all")
    training: SFTConfig = Field(default=SFTConfig(), description="How it is trained")


class FineTuneStepConfig(FineTuneConfig):
    """The same, with adapters where the run uses them."""

    lora: LoraConfig | None = None


@step(
    version=4,
    config=FineTuneStepConfig,
    inputs={
        "policy": Input("model"),
        "picks": Input("dataset", "dialogue"),
        "gatt": Input("dataset", "dialogue", optional=True),
        "distilled": Input("dataset", "dialogue", optional=True),
        "demonstrations": Input("dataset", "dialogue", optional=True, many=True),
        "base": BASE,
        "findings": FINDINGS,
    },
    outputs={"policy": Output("model")},
    metrics=("loss", SPEED, "dialogues", "steps", "picks", "distilled", "replay", "gatt", "read_from_text", "too_long"),
    headline="loss",
    about="Fine-tunes the policy of one iteration on the picks and the dialogues.",
    tags=("trainer",),
)
def fine_tune(run: StepRun, config: FineTuneStepConfig) -> Mapping[str, float]:
    """Fine-tune the last iteration's policy as in SFT."""
    from models.checkpoint import load_policy
    from models.training.hf import told_of_steps
    from models.training.sft import fine_tune as train

    rng = random.Random(run.seed)
    renderer = open_renderer(run.path("policy"))
    picks = run.records("picks")
    picks = rng.sample(picks, min(config.picks, len(picks)))
    demonstrations = [
        row for row in run.records("demonstrations") if not config.replay_kinds or row["kind"] in config.replay_kinds
    ]
    replay = rng.sample(demonstrations, min(config.replay, len(demonstrations)))
    gatt, distilled = run.records("gatt"), run.records("distilled")
    generated = [dialogue_ids(renderer, *last_answer_of(row)) for row in [*picks, *distilled]]
    generated += [render_gatt(renderer, last_answer_of(row)) for row in gatt]
    # What was drawn fits; picks of another tokenizer are read from their text, and that can take more tokens here.
    fitting = [row for row in generated if len(row.input_ids) <= config.training.sequence_length]
    if not fitting:
        raise ValueError(
            f"every generated dialogue is longer than fine_tune.training.sequence_length, "
            f"{config.training.sequence_length}: raise it, or lower the lengths of prompts and answers"
        )
    metrics = train(
        load_policy(
            run.path("policy"), run.optional_path("base"), lora=config.lora, trainable=True, dtype=config.training.dtype
        ),
        fitting + [each for row in replay for each in rendered(renderer, row)],
        renderer,
        config.training,
        out=run.output("policy"),
        work=run.work,
        seed=run.seed,
        reporter=run,
        name="fine_tune",
        together=packs(run),
    )
    if told := told_of_steps(metrics["steps"], config.training.warmup_ratio):
        run.note(told)
    return {
        **metrics,
        "picks": float(len(picks)),
        "distilled": float(len(distilled)),
        "replay": float(len(replay)),
        "gatt": float(len(gatt)),
        "read_from_text": float(sum(row["tokenizer"] != renderer.identity for row in [*picks, *distilled, *gatt])),
        "too_long": float(len(generated) - len(fitting)),
    }


def render_gatt(renderer: "Renderer", dialogue: Dialogue) -> "Rendered":
    """A Ghost Attention dialogue: only the last answer is learned."""
    from models.algorithms.gatt import gatt_loss_mask
    from models.dialogue import Rendered

    rendered = dialogue_ids(renderer, *dialogue)
    roles = [*(message["role"] for message in dialogue[0]), "assistant"]
    mask = gatt_loss_mask(roles, rendered.message_lengths).tolist()
    return Rendered(rendered.input_ids, mask, rendered.message_lengths)
