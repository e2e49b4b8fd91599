"""How the folder of a chat model that judges is run, wherever it judges."""

from typing import Self

from pydantic import Field, model_validator

from models.config import Config, SamplingConfig


class FolderUse(Config):
    """Rows read together, and who reads them."""

    batch_size: int = Field(default=8, ge=1, description="Of a folder: rows that are read together")
    threads: int = Field(default=1, ge=1, description="Of a folder: CPU threads of torch")
    shards: int = Field(
        default=1,
        ge=1,
        exclude_if=lambda shards: shards == 1,  # versions without it are those of before there was such a key
        description="Of a folder: processes that share its questions on a machine without an accelerator, or shards on "
        "a Ray cluster",
    )

    @model_validator(mode="after")
    def _threads_or_shards(self) -> Self:
        self.reading  # noqa: B018  (raises for what does not go together)
        return self

    @property
    def reading(self) -> SamplingConfig:
        """The same for what reads."""
        return SamplingConfig(batch_size=self.batch_size, threads=self.threads, shards=self.shards)
