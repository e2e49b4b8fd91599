"""Pretraining."""

from collections.abc import Mapping

from models.config import ArchitectureConfig, Config, PretrainConfig
from tasks.answers import open_renderer
from tasks.engine.step import Input, Output, StepRun, step


class PretrainStepConfig(Config):
    """The model and how it is trained."""

    model: ArchitectureConfig
    training: PretrainConfig


@step(
    version=4,
    config=PretrainStepConfig,
    inputs={"corpus": Input("dataset", "document"), "tokenizer": Input("tokenizer")},
    outputs={"base": Output("model")},
    metrics=("loss", "parameters", "corpus_tokens", "trained_tokens"),
    headline="loss",
    about="Pretrains the base model.",
    tags=("foundation", "trainer"),
)
def pretrain(run: StepRun, config: PretrainStepConfig) -> Mapping[str, float]:
    """Train a Llama from nothing on the filtered corpus."""
    from models.training.pretrain import pretrain as train

    return train(
        run.rows("corpus").column("text").to_pylist(),
        open_renderer(run.path("tokenizer")),
        config.model,
        config.training,
        out=run.output("base"),
        work=run.work,
        seed=run.seed,
        reporter=run,
    )
