"""The row of `extend_tokenizer`: new pieces for the tokenizer of a base model that is pretrained on."""

from flows.recipe.places import Place, Row, given_base, here, only
from models.mix_config import SourceFiles
from tasks.extend_tokenizer import ExtendTokenizerStepConfig, extend_tokenizer


def _extending(at: Place) -> ExtendTokenizerStepConfig:
    section, mix = at.config.extend_tokenizer, at.config.mix
    if section is None or mix is None:
        raise AssertionError("the row is there where pieces are added")
    files = tuple(SourceFiles(**only(SourceFiles, source)) for source in mix.sources)
    return ExtendTokenizerStepConfig(**section.model_dump(), of_files=files)


EXTENSION_ROW = Row(
    extend_tokenizer,
    _extending,
    {"corpus": here("dataset/corpus"), "tokenizer": given_base},
    {"tokenizer": "tokenizer"},
    when=lambda at: at.config.extend_tokenizer is not None,
)
