"""The section `mix`: what pretraining reads of which files."""

from pydantic import Field, model_validator

from models.config import Config


class SourceFiles(Config):
    """Which files are a source of pretraining."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="What its figures are called by")
    files: tuple[str, ...] = Field(
        min_length=1, description="Names of its files, as rows name them, or patterns such as c4*.jsonl"
    )


class SourceConfig(SourceFiles):
    """A source of pretraining."""

    weight: float = Field(
        ge=0,
        description="Its share of the rows, relative to the weights of the others; 0: nothing trains on it, all of it "
        "is held out",
    )
    annealed_weight: float | None = Field(
        default=None, ge=0, description="The same in the annealed part; empty: as before"
    )


class MixConfig(Config):
    """How much pretraining reads of which files. Without it every document is read once an epoch."""

    sources: tuple[SourceConfig, ...] = Field(
        min_length=1, description="A document is of the first source that one of its patterns fits"
    )
    annealed_share: float = Field(
        default=0, ge=0, lt=1, description="The last part of the training, which has its own weights (Llama 3)"
    )
    max_epochs: float = Field(
        default=4,
        gt=0,
        description="A source that would be read more often stops the run; beyond 4 epochs repeated text is worth "
        "little (Muennighoff and others, arXiv 2305.16264)",
    )
    heldout_percent: float = Field(
        default=1, gt=0, le=50, description="Documents of each source that nothing trains on, for its loss"
    )
    heldout_documents: int = Field(default=200, ge=1, description="At most so many of a source; at least one")

    @model_validator(mode="after")
    def _says_what_changes(self) -> "MixConfig":
        names = [source.name for source in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"mix.sources: two are called {twice[0]}")
        if not self.trained:
            raise ValueError("mix.sources: every weight is 0, so there is nothing to train on")
        if idle := [each.name for each in self.sources if not each.weight and each.annealed_weight is not None]:
            raise ValueError(f"mix.sources: {idle[0]} has weight 0, nothing trains on it: take annealed_weight out")
        annealed = [source.annealed_weight for source in self.sources if source.annealed_weight is not None]
        if bool(annealed) != (self.annealed_share > 0):
            raise ValueError("mix: annealed_share and an annealed_weight of some source go together")
        if self.annealed_share and not any(self.annealed_weights):
            raise ValueError("mix: every annealed_weight is 0")
        return self

    @property
    def trained(self) -> list[SourceConfig]:
        """The sources that are trained on."""
        return [each for each in self.sources if each.weight]

    @property
    def annealed_weights(self) -> list[float]:
        """Of each source that is trained on in the annealed part."""
        return [each.weight if each.annealed_weight is None else each.annealed_weight for each in self.trained]


class ExtendTokenizerConfig(Config):
    """New pieces for the tokenizer of a base model, learned on some sources of the mix. It must be one of
    SentencePiece's."""

    pieces: int = Field(ge=1, description="How many; each is a row of embeddings, and one of the head")
    sources: tuple[str, ...] = Field(min_length=1, description="Sources of the mix whose documents teach them")


def check_extension(section: ExtendTokenizerConfig | None, mix: MixConfig | None) -> None:
    """Raises ValueError for new pieces where no base model is pretrained on, and for sources that there are not.
    `mix`: that of a base model."""
    if section is None:
        return
    if mix is None:
        raise ValueError("extend_tokenizer is for a base model that is pretrained on: give base_model and mix")
    names = {source.name for source in mix.sources}
    if unknown := [name for name in section.sources if name not in names]:
        raise ValueError(f"extend_tokenizer.sources: the mix has no {unknown[0]}; it has {', '.join(sorted(names))}")
