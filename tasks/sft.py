"""Supervised fine-tuning on demonstrations: the first chat model, V0."""

from collections.abc import Mapping
from datetime import date

from models.config import TEMPLATE_DATE, Config, LoraConfig, SFTConfig
from models.training.reporting import SPEED
from tasks.answers import open_renderer, rendered
from tasks.base_findings import FINDINGS, packs
from tasks.engine.step import Input, Output, StepRun, step


class SFTStepConfig(Config):
    """How the demonstrations are learned."""

    training: SFTConfig
    lora: LoraConfig | None = None
    template_date: date = TEMPLATE_DATE


@step(
    version=4,
    config=SFTStepConfig,
    inputs={
        "base": Input("model"),
        "demonstrations": Input("dataset", "dialogue", optional=True, many=True),
        "findings": FINDINGS,
    },
    outputs={"policy": Output("model")},
    metrics=("loss", SPEED, "dialogues", "steps"),
    headline="loss",
    about="Fine-tunes the base model on the demonstrations; its result is V0.",
    tags=("trainer",),
)
def sft(run: StepRun, config: SFTStepConfig) -> Mapping[str, float]:
    """Fine-tune the base model on demonstrations; only the assistant's words are learned.

    Without demonstrations a base model that can chat already becomes V0 as it is.
    """
    import torch

    from models.checkpoint import load_policy, save_checkpoint
    from models.training.hf import told_of_steps
    from models.training.sft import fine_tune

    torch.manual_seed(run.seed)  # peft draws a fresh adapter from the global generator
    base = run.path("base")
    renderer = open_renderer(base, config.template_date)
    if not run.all_inputs("demonstrations"):  # in float32, whatever is trained in: the policy is the base
        policy = load_policy(base, lora=config.lora, trainable=True)
        save_checkpoint(policy, renderer.tokenizer, run.output("policy"))
        return {"dialogues": 0.0}
    policy = load_policy(base, lora=config.lora, trainable=True, dtype=config.training.dtype)
    metrics = fine_tune(
        policy,
        [each for row in run.records("demonstrations") for each in rendered(renderer, row)],
        renderer,
        config.training,
        out=run.output("policy"),
        work=run.work,
        seed=run.seed,
        reporter=run,
        together=packs(run),
    )
    if told := told_of_steps(metrics["steps"], config.training.warmup_ratio):
        run.note(told)
    return metrics
