"""The keys of `evaluate` that say who judges, beside the annotator, and what answers are compared with."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from tasks.evaluation_judges.compared import NAME, ComparedConfig
from tasks.evaluation_judges.registry import kind_of
from tasks.evaluations.registry import EvaluateConfig
from tasks.judging.endpoint import EndpointChoice
from tasks.judging.folder import FolderConfig
from tasks.judging.folder_use import FolderUse
from tasks.judging.people import EvaluatingPeopleConfig

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]


# the last base's fields come first
class EvaluationJudgeConfig(FolderUse, EndpointChoice, FolderConfig):
    """Somebody who judges evaluations, and nothing else."""

    name: str = Field(pattern=NAME, description="Stands in its figures, as in win_rate@NAME: letters, digits and '_'")
    kind: Literal["lm", "safety_classifier", "people", "gold_reward", "refusal_phrases"] = Field(
        default="lm",
        description="lm: a chat model's folder, or an endpoint; safety_classifier: trained on data.labelled_responses; "
        "people: on the annotation page; gold_reward: the model of reward.gold_percent, there as gold unnamed; "
        "refusal_phrases: says what refuses, by what answers begin with",
    )
    people: EvaluatingPeopleConfig | None = Field(default=None, description="With kind: people: what is asked of them")

    phrases: tuple[Phrase, ...] = Field(
        default=(),
        description="With kind: refusal_phrases: what counts as a refusal where it stands in the first 200 characters "
        "of an answer, in the place of the English and Korean phrases that are known",
    )

    @model_validator(mode="after")
    def _is_one(self) -> "EvaluationJudgeConfig":
        given = (self.folder is not None) + (self.endpoint is not None)
        if self.kind == "lm" and given != 1:
            raise ValueError("give folder or endpoint, one of them")
        if self.kind == "safety_classifier" and given:
            raise ValueError("a safety classifier has no folder and no endpoint: it is trained here")
        if self.kind == GOLD and given:
            raise ValueError("the gold reward model has no folder and no endpoint: it is trained here")
        if self.kind == "people" and given:
            raise ValueError("people have no folder and no endpoint: they judge on the annotation page")
        if self.kind == PHRASES and given:
            raise ValueError("phrases of refusals have no folder and no endpoint: they are looked for")
        if self.phrases and self.kind != PHRASES:
            raise ValueError(f"phrases go with kind: {PHRASES}")
        if (self.kind == "people") != (self.people is not None):
            raise ValueError(
                "kind: people and the section people go together: people: {} asks what is asked by default"
            )
        return self

    @property
    def annotator(self) -> str:
        """The name that stands in its judgements."""
        return f"{self.kind.replace('_', '-')}:{self.name}"

    @property
    def compares(self) -> bool:
        """Whether it can say which of two answers is better."""
        return kind_of(self.kind).compares


GOLD: Literal["gold_reward"] = "gold_reward"
PHRASES: Literal["refusal_phrases"] = "refusal_phrases"
GOLD_NAME = "gold"
"""What the gold reward model is called where the config gives it no name."""


class EvaluationConfig(EvaluateConfig):
    """How many held-out prompts, and who judges."""

    judges: tuple[EvaluationJudgeConfig, ...] = Field(
        default=(), description="Judges of evaluations beside the annotator; nothing is trained on what they say"
    )
    against: tuple[Literal["previous"] | ComparedConfig, ...] = Field(
        default=(),
        description="What these judges compare a policy with beside SFT: previous, the policy of the iteration before, "
        "or others by name",
    )

    @model_validator(mode="after")
    def _have_names(self) -> "EvaluationConfig":
        names = [judge.name for judge in self.judges]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"judges: two are called {twice[0]}: figures are told apart by the name")
        if self.against and not self.judges:
            raise ValueError("against: give a judge in judges; the annotator compares with SFT alone")
        named = [each.name for each in self.compared]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"against: two are called {twice[0]}: figures are told apart by the name")
        return self

    def in_force(self, *, gold: bool) -> tuple[EvaluationJudgeConfig, ...]:
        """The judges, the gold reward model among them where there is one."""
        if not gold or any(judge.kind == GOLD for judge in self.judges):
            return self.judges
        return (*self.judges, EvaluationJudgeConfig(name=GOLD_NAME, kind=GOLD))

    @property
    def compared(self) -> tuple[ComparedConfig, ...]:
        """The policies by name."""
        return tuple(each for each in self.against if isinstance(each, ComparedConfig))
