"""New pieces for the tokenizer of a base model that is pretrained on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_store.encoding import text_hash
from data_store.errors import InputError
from data_store.figures import figure
from models.mix_config import ExtendTokenizerConfig, SourceFiles
from tasks.answers import open_renderer
from tasks.engine.call import StepCall
from tasks.engine.step import Input, Output, StepRun, step
from tasks.pretrain_sources import documents_of

if TYPE_CHECKING:
    from models.dialogue import Renderer

_MEASURED, _MOST = 10, 500  # every tenth document of a source teaches nothing; so many of them are counted
_OF_SOURCES = ("tokens_per_character_before", "tokens_per_character", "changed_share")


class ExtendTokenizerStepConfig(ExtendTokenizerConfig):
    """The same with the files of all sources."""

    of_files: tuple[SourceFiles, ...]


def _metrics(call: StepCall) -> list[str]:
    sources = getattr(call.config, "of_files", ())
    return ["vocab_size", *(f"{what}/{source.name}" for source in sources for what in _OF_SOURCES)]


@step(
    version=1,
    config=ExtendTokenizerStepConfig,
    inputs={"corpus": Input("dataset", "document"), "tokenizer": Input("tokenizer")},
    outputs={"tokenizer": Output("tokenizer")},
    metrics=_metrics,
    headline="vocab_size",
    about="Adds pieces for new text to the tokenizer of a base model.",
    tags=("foundation", "trainer"),
)
def extend_tokenizer(run: StepRun, config: ExtendTokenizerStepConfig) -> Mapping[str, float]:
    """Learn pieces on some sources and add them; of every source the tokens per character before and after, and the
    share of documents that are other ids now, on documents that taught nothing."""
    from models.vocabulary_extension import extend_tokenizer as extend

    measured: dict[str, list[str]] = {source.name: [] for source in config.of_files}
    learned: list[str] = []
    for number, row in documents_of(run, config.of_files):
        name = config.of_files[number].name
        if int(text_hash(row["text"])[:8], 16) % _MEASURED == 0:
            if len(measured[name]) < _MOST:
                measured[name].append(row["text"])
        elif name in config.sources:
            learned.append(row["text"])
    try:
        extended = extend(run.path("tokenizer"), learned, config.pieces, run.output("tokenizer"), run.seed)
    except ValueError as error:
        raise InputError(f"extend_tokenizer: {error}") from None
    before, after = open_renderer(run.path("tokenizer")), open_renderer(run.output("tokenizer"))
    found = {name: _compared(texts, before, after) for name, texts in measured.items() if texts}
    run.table("sources", [{"source": name, **_shown(values)} for name, values in found.items()])
    of_sources = {f"{what}/{name}": value for name, values in found.items() for what, value in values.items()}
    return {"vocab_size": float(len(extended)), **of_sources}


def _compared(texts: list[str], before: "Renderer", after: "Renderer") -> dict[str, float]:
    old, new = list(before.documents(texts)), list(after.documents(texts))
    characters = sum(map(len, texts))
    changed = sum(one != other for one, other in zip(old, new, strict=True))
    values = sum(map(len, old)) / characters, sum(map(len, new)) / characters, changed / len(texts)
    return dict(zip(_OF_SOURCES, values, strict=True))


def _shown(values: Mapping[str, float]) -> dict[str, Any]:
    return {what.replace("_", " "): figure(value, 3) for what, value in values.items()}
