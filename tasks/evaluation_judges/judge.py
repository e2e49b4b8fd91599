"""What a judge of evaluations is. Each kind is a file of this folder; registry.py names them all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from data_store.estimate import Estimate
from models.config import SamplingConfig
from tasks.engine.step import Input, StepRun
from tasks.evaluation_judges.measures import FALSE_REFUSAL, VIOLATION
from tasks.evaluations.evaluation import Measure
from tasks.judging.folder_use import FolderUse
from tasks.judging.judgements import PREVIOUS

Rows = list[dict[str, Any]]


class JudgeAnswersConfig(FolderUse):
    """Who judges."""

    name: str = Field(description="Stands in the names of its figures")
    annotator: str = Field(description="Stands in every judgement")
    kind: str = Field(default="lm", description="One of the registered kinds")
    asks: str | None = Field(default=None, description="Of an endpoint: a hash of what it is asked")
    prompts: int | None = Field(default=None, description="Of people: so many prompts are drawn")
    kinds: tuple[str, ...] = Field(
        default=(), exclude_if=lambda kinds: not kinds, description="Of people: of which kinds; empty: of all"
    )
    compares: bool = Field(description="With SFT's answers")
    against: tuple[str, ...] = Field(
        default=(), description="What else it compares with, or knows the rates of, as figures call it"
    )
    phrases: tuple[str, ...] = Field(default=(), description="What refuses, in the place of the phrases that are known")
    sampling: SamplingConfig | None = Field(default=None, description="Of a reward model: how it reads")

    @property
    def named(self) -> tuple[str, ...]:
        """Those of `against` that the config gives a name."""
        return tuple(name for name in self.against if name != PREVIOUS)


@dataclass(frozen=True)
class Judged:
    """What a judge has done: a row of kind judgement for each question that it was asked, also for those without an
    answer, and the figures that its kind alone gives, by their names without the judge's."""

    rows: Rows
    figures: Mapping[str, Estimate] = field(default_factory=dict)


class EvaluationJudge(ABC):
    """A kind of judge. `kind` is its word in the config; `compares`: it can say which of two answers is better;
    `always_answers`: so that there is no share of questions that it judged;
    `labels`: the figures of what it is asked of an answer alone; `further`: those that its kind alone gives; `inputs`:
    what judge_answers reads for it, by role."""

    kind: ClassVar[str]
    compares: ClassVar[bool] = True
    always_answers: ClassVar[bool] = False
    labels: ClassVar[tuple[Measure, ...]] = (VIOLATION, FALSE_REFUSAL)
    further: ClassVar[tuple[Measure, ...]] = ()
    inputs: ClassVar[Mapping[str, Input]] = {}

    @abstractmethod
    def judge(self, run: StepRun, config: JudgeAnswersConfig, questions: Rows) -> Judged:
        """Its judgements of these rows of kind question, which are in the order of their ids."""
