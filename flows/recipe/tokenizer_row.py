"""The tokenizer of a model from nothing, and new pieces for that of a base model that is pretrained on."""

from flows.recipe.conditions import trains_tokenizer
from flows.recipe.places import Place, Row, given_base, here, only
from models.config import TokenizerConfig
from models.mix_config import SourceFiles
from tasks.extend_tokenizer import ExtendTokenizerStepConfig, extend_tokenizer
from tasks.train_tokenizer import train_tokenizer


def _extending(at: Place) -> ExtendTokenizerStepConfig:
    section, mix = at.config.extend_tokenizer, at.config.mix
    if section is None or mix is None:
        raise AssertionError("the row is there where pieces are added")
    files = tuple(SourceFiles(**only(SourceFiles, source)) for source in mix.sources)
    return ExtendTokenizerStepConfig(**section.model_dump(), of_files=files)


TOKENIZER_ROW = Row(
    train_tokenizer,
    lambda at: TokenizerConfig(**only(TokenizerConfig, at.config.tokenizer)),
    {"corpus": here("dataset/corpus")},
    {"tokenizer": "tokenizer"},
    when=trains_tokenizer,
)
EXTENSION_ROW = Row(
    extend_tokenizer,
    _extending,
    {"corpus": here("dataset/corpus"), "tokenizer": given_base},
    {"tokenizer": "tokenizer"},
    when=lambda at: at.config.extend_tokenizer is not None,
)
