"""Test sets of reward models: which there are, and how reward models are put to them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from data_store.reading.preference_formats.registry import FORMATS, PreferenceOptions
from data_store.reading.preference_readers import RECOGNISE
from data_store.rows import AXES, RATINGS
from models.config import Config, SamplingConfig


class RewardTestChoice(Config):
    """One test set, without its files."""

    name: str = Field(
        pattern="^[a-z][a-z0-9_]{0,31}$",
        description="Names it in rows and metrics: letters, digits and '_'; helpfulness and safety are the run's own "
        "held-out pairs",
    )
    axis: Literal["helpfulness", "safety"] = Field(description="What its pairs were judged for")
    format: str = Field(
        default=RECOGNISE,
        pattern=f"^({'|'.join((RECOGNISE, *FORMATS))})$",
        description="As data.preference_format",
    )
    default_rating: str = Field(default="better", description="Rating word of pairs that say only which is better")

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in AXES:
            raise ValueError(f"{name!r} names the run's own held-out pairs; take another name")
        return name

    @field_validator("default_rating")
    @classmethod
    def _is_a_rating(cls, rating: str) -> str:
        if rating not in RATINGS:
            raise ValueError(f"{rating!r} is no rating; use one of {', '.join(RATINGS)}")
        return rating


class RewardTestConfig(RewardTestChoice):
    """One test set: judged pairs in files."""

    files: tuple[Path, ...] = Field(
        min_length=1, description="Pairs in any format of docs/preference-sources.md; no model learns from their texts"
    )


class TestingConfig(Config):
    """How reward models are put to their test sets."""

    bins: int = Field(default=10, ge=2, le=50, description="Of equal width, in which their calibration is measured")
    max_pairs: int = Field(
        default=5000, ge=1, description="Of each set; of more a part is drawn, the same for every model"
    )
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="How many dialogues are read at once, and by how many processes"
    )


class RewardTestsConfig(TestingConfig):
    """What reward models are tested on beside the run's own held-out pairs."""

    sets: tuple[RewardTestConfig, ...] = Field(default=(), description="Test sets of files; none: the run's own pairs")

    @model_validator(mode="after")
    def _has_each_name_once(self) -> "RewardTestsConfig":
        names = [each.name for each in self.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sets: the name {twice[0]!r} comes twice; give each test set its own")
        return self

    def beside(self, folder: Path) -> "RewardTestsConfig":
        """With paths beside the config file's folder as they are from anywhere."""
        sets = (
            each.model_copy(update={"files": tuple((folder / path).resolve() for path in each.files)})
            for each in self.sets
        )
        return self.model_copy(update={"sets": tuple(sets)})

    def missing(self) -> str:
        """Which file is not there, in words; empty where all are."""
        found = (f"{each.name}: there is no file {path}" for each in self.sets for path in each.files)
        paths = (path for each in self.sets for path in each.files)
        return next((words for words, path in zip(found, paths, strict=True) if not path.is_file()), "")


class ReadingTestsConfig(Config):
    """Which files belong to which set."""

    sets: tuple[RewardTestChoice, ...]
    files: tuple[int, ...] = Field(description="How many files each has")
    options: PreferenceOptions = Field(default=PreferenceOptions(), description="As data.preference_options")


class MeasureRewardModelsConfig(TestingConfig):
    """The same for measure_reward_models: what metrics there are follows from it."""

    sets: tuple[str, ...] = Field(default=(), description="Names of the test sets of files")
