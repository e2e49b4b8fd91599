"""All judges, and the configs of those that are models joined.

They are imported one by one, not looked for in the folder, so that the code which is recorded of a step holds them.
"""

from pydantic import Field, model_validator

from tasks.judging.endpoint import Endpoint, EndpointChoice
from tasks.judging.folder import Folder, FolderConfig
from tasks.judging.judge import Judge, Judging, ModelJudge
from tasks.judging.lm import LMConfig, LMStepConfig
from tasks.judging.people import People
from tasks.judging.simulated import Simulated

MODELS: tuple[ModelJudge, ...] = (
    Folder(),
    Endpoint(),
)
# in the order in which their judgements make up a batch
JUDGES: tuple[Judge, ...] = (Simulated(), *MODELS, People())


# the last base's fields come first
class LMJudgeConfig(
    EndpointChoice,
    FolderConfig,
    LMConfig,
):
    """Who judges: a chat model's folder, or an endpoint."""

    name: str | None = Field(default=None, description="Shown as lm:<name>; empty: the folder's or the model's name")

    @model_validator(mode="after")
    def _is_one(self) -> "LMJudgeConfig":
        if sum(getattr(self, each.key) is not None for each in MODELS) != 1:
            raise ValueError(f"give {' or '.join(each.key for each in MODELS)}, one of them")
        return self

    @property
    def annotator(self) -> str:
        """The name that stands in every judgement."""
        (model,) = (each for each in MODELS if getattr(self, each.key) is not None)
        return f"lm:{self.name or model.name(self)}"


class JudgePairsConfig(
    LMStepConfig,
):
    """The same for this step: what any of the models may be given."""


def judges_of(judging: Judging) -> list[Judge]:
    """Those whom the config names."""
    return [each for each in JUDGES if each.is_given(judging)]


def model_of(judging: Judging) -> ModelJudge | None:
    """The model among them."""
    return next((each for each in MODELS if each.is_given(judging)), None)
