"""Pretraining."""

from models.config import ArchitectureConfig, Config, PretrainConfig
from models.mix_config import MixConfig
from models.training.pace import SPEED, UTILISATION
from tasks.answers import open_renderer
from tasks.engine.call import StepCall
from tasks.engine.step import Input, Measurements, Output, StepRun, step
from tasks.pretrain_sources import OF_SOURCES, open_sources


class PretrainStepConfig(Config):
    """The model and how it is trained."""

    model: ArchitectureConfig
    training: PretrainConfig


class MixedPretrainStepConfig(PretrainStepConfig):
    """The same with a mix of sources. Without one the step's fingerprint knows nothing of it."""

    mix: MixConfig | None = None


def _metrics(call: StepCall) -> list[str]:
    mix = getattr(call.config, "mix", None)
    sources = [source.name for source in mix.sources] if mix is not None else []
    of_sources = [f"{what}/{name}" for name in sources for what in OF_SOURCES]
    return ["loss", "parameters", "corpus_tokens", "trained_tokens", SPEED, *UTILISATION, *of_sources]


@step(
    version=3,
    config=MixedPretrainStepConfig,
    inputs={"corpus": Input("dataset", "document"), "tokenizer": Input("tokenizer")},
    outputs={"base": Output("model")},
    metrics=_metrics,
    headline="loss",
    about="Pretrains the base model.",
    tags=("foundation", "trainer"),
)
def pretrain(run: StepRun, config: MixedPretrainStepConfig) -> Measurements:
    """Train a Llama from nothing on the filtered corpus; with a mix, its loss on held-out documents of each source."""
    from models.training.pretrain import pretrain as train

    renderer = open_renderer(run.path("tokenizer"))
    sources = None if config.mix is None else open_sources(run, config.mix, renderer, config.training)
    measured = train(
        run.rows("corpus").column("text").to_pylist() if sources is None else (),
        renderer,
        config.model,
        config.training,
        out=run.output("base"),
        work=run.work,
        seed=run.seed,
        reporter=run,
        mix=None if sources is None else sources.rows,
    )
    if sources is None:
        return measured
    found = sources.measured(run.output("base"), config.training)
    run.table("sources", sources.table(found))
    return {**measured, **found}
