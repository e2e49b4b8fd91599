"""How one file is to be read, where it is not as the others of its section."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FileOptions(BaseModel):
    """What is left out is as the section `data` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str | None = Field(
        default=None, description="Of preferences or of demonstrations; empty: told by its records"
    )
    text_field: str | None = Field(default=None, description="Of documents: the field with the text")
    prompt_field: str | None = Field(default=None, description="The field with the prompt")
    response_field: str | None = Field(default=None, description="Of demonstrations: the field with the answer")
    axis: Literal["helpfulness", "safety"] | None = Field(
        default=None, description="Of what its rows are, whatever a column `axis` says"
    )
    split: Literal["train", "validation", "heldout"] | None = Field(
        default=None, description="Of all its rows, whatever a column `split` says"
    )
    question: str | None = Field(
        default=None, description="Of Label Studio and Argilla: the question whose answers are read"
    )


OfFiles = Mapping[Path, FileOptions]
AS_SAID = FileOptions()
