"""The section `quality`: what a classifier of documents learns from."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, model_validator

from data_store.corpus.language import Language
from data_store.corpus.registry import FilterConfig
from models.config import Config


class QualitySourceChoice(Config):
    """One source, without its files."""

    name: str = Field(
        pattern="^[a-z][a-z0-9_]{0,31}$", description="Names it in metrics and messages: letters, digits and '_'"
    )
    text_field: str = Field(default="text", description="As data.text_field")


class QualitySource(QualitySourceChoice):
    """Texts that somebody wrote or gathered in one way: a site, a crawl, a kind of book."""

    files: tuple[Path, ...] = Field(min_length=1, description="Documents in any format of data.documents")


class QualityTrainingConfig(Config):
    """What is learned for which languages, and where the line is drawn."""

    languages: tuple[Language, ...] = Field(
        min_length=1,
        description="A classifier is trained for each; documents of other languages are left alone, and counted",
    )
    documents: int = Field(
        default=500, ge=50, description="Of each source and language; of more so many are drawn by the seed"
    )
    max_lost_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Of no held-out positive source more documents may fall below the threshold that is chosen",
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Documents with a lower score are dropped; empty: as high as max_lost_share allows, by language",
    )


class QualityConfig(QualityTrainingConfig):
    """A classifier of documents, and the sources that it learns from."""

    positives: tuple[QualitySource, ...] = Field(
        min_length=2, description="Sources of documents such as you want to train on; at least two of each language"
    )
    negatives: tuple[QualitySource, ...] = Field(
        min_length=2, description="Sources of documents such as you do not want; at least two of each language"
    )

    @model_validator(mode="after")
    def _has_each_once(self) -> "QualityConfig":
        names = [each.name for each in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} comes twice; give each source its own")
        files = [path for each in self.sources for path in each.files]
        if again := sorted({str(path) for path in files if files.count(path) > 1}):
            raise ValueError(f"{again[0]} is given twice; a file belongs to one source")
        if len(set(self.languages)) < len(self.languages):
            raise ValueError("languages: one comes twice")
        return self

    @property
    def sources(self) -> tuple[QualitySource, ...]:
        """Those of both sides, the positives first."""
        return (*self.positives, *self.negatives)

    def beside(self, folder: Path) -> "QualityConfig":
        """With paths beside the config file's folder as they are from anywhere."""

        def resolved(sources: tuple[QualitySource, ...]) -> tuple[QualitySource, ...]:
            given = ((each, tuple((folder / path).resolve() for path in each.files)) for each in sources)
            return tuple(each.model_copy(update={"files": files}) for each, files in given)

        return self.model_copy(update={"positives": resolved(self.positives), "negatives": resolved(self.negatives)})

    def missing(self) -> str:
        """Which file is not there, in words; empty where all are."""
        return next(self._missing(), "")

    def _missing(self) -> Iterator[str]:
        for each in self.sources:
            yield from (f"{each.name}: there is no file {path}" for path in each.files if not path.is_file())


class QualityStepConfig(QualityTrainingConfig):
    """The same for the step, without paths. What is learned from is mended as what is judged will be."""

    positives: tuple[QualitySourceChoice, ...]
    negatives: tuple[QualitySourceChoice, ...]
    files: tuple[int, ...] = Field(description="How many files each source has, those of the positives first")
    filter: FilterConfig

    @property
    def sources(self) -> tuple[QualitySourceChoice, ...]:
        """Those of both sides, in the order of `files`."""
        return (*self.positives, *self.negatives)
