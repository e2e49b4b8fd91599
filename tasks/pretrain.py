"""Pretraining."""

from data_store.errors import InputError
from models.config import ArchitectureConfig, Config, PretrainConfig
from models.mix_config import MixConfig
from models.training.reporting import SPEED, UTILISATION
from tasks.answers import open_renderer
from tasks.base_findings import FINDINGS, reads_alone
from tasks.engine.call import StepCall
from tasks.engine.step import Input, Measurements, Output, StepRun, step
from tasks.pretrain_sources import measures, open_sources


class PretrainStepConfig(Config):
    """The model and how it is trained."""

    model: ArchitectureConfig
    training: PretrainConfig


class MixedPretrainStepConfig(PretrainStepConfig):
    """The same with a mix of sources. Without one the step's fingerprint knows nothing of it."""

    mix: MixConfig | None = None


def _metrics(call: StepCall) -> list[str]:
    mix = getattr(call.config, "mix", None)
    extended = "base" in call.inputs and "tokenizer" in call.assets
    of_sources = () if mix is None else measures(mix, goes_on="base" in call.inputs, extended=extended)
    return ["loss", "parameters", "corpus_tokens", "trained_tokens", SPEED, *UTILISATION, *of_sources]


@step(
    version=4,
    config=MixedPretrainStepConfig,
    inputs={
        "corpus": Input("dataset", "document"),
        "tokenizer": Input("tokenizer"),
        "base": Input("model", optional=True),
        "findings": FINDINGS,
    },
    outputs={"base": Output("model")},
    metrics=_metrics,
    headline="loss",
    about="Pretrains the base model.",
    tags=("foundation", "trainer"),
)
def pretrain(run: StepRun, config: MixedPretrainStepConfig) -> Measurements:
    """Train a Llama on the filtered corpus, from nothing or on from a base model, whose tokenizer it keeps; with a mix,
    its loss on held-out documents of each source, and that of the base model before."""
    from models.training.pretrain import pretrain as train

    base = run.optional_path("base")
    if base is not None and reads_alone(run):
        raise InputError(
            "base_model: check_base found that it reads packed documents into each other, and rows of pretraining are "
            "packed: take mix out, so that it is used as it is, or give a model of another family"
        )
    renderer = open_renderer(run.path("tokenizer"))
    before = None if base is None else open_renderer(base)
    sources = None if config.mix is None else open_sources(run, config.mix, renderer, config.training, before)
    measured = train(
        run.rows("corpus").column("text").to_pylist() if sources is None else (),
        renderer,
        base or config.model,
        config.training,
        out=run.output("base"),
        work=run.work,
        seed=run.seed,
        reporter=run,
        mix=None if sources is None else sources.rows,
    )
    if sources is None:
        return measured
    found = sources.measured(run.output("base"), config.training, base)
    run.table("sources", sources.table(found))
    return {**measured, **found}
