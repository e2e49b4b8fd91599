"""The section `distill`: whose answers a small model learns from."""

from typing import Annotated

from pydantic import AfterValidator, Field

from data_store.identity import check_run_name
from models.config import Config

RunName = Annotated[str, AfterValidator(check_run_name)]


class DistillConfig(Config):
    """Learning from a larger model's answers (Llama 2, section 3.2.3: only the largest model samples)."""

    run: RunName = Field(
        description="Name of the run, in the same HALTER_HOME, whose picks of V1 … Vn are learned here"
    )
