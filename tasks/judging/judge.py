"""What a judge of pairs is. Each is a file of this folder; tasks/judging/registry.py names them all.

Judges say what must be there before in plain values: flows/recipe/places.py knows how each is come by. So the code of
the steps in which they judge is that of judging alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from models.config import Config
from tasks.engine.step import Input, StepRun
from tasks.judging.shares import SharesConfig
from tasks.judging.verdicts import Ruling, VerdictConfig

if TYPE_CHECKING:
    from tasks.judging.annotators import AnnotatorConfig

Rows = list[dict[str, Any]]
Need = str | Path | Config
"""What is read: an asset, as `kind/name` of the same part; a file or folder outside the store; what an EndpointConfig
answers to questions on the pairs; how the people of a PeopleConfig judge them."""


@dataclass(frozen=True)
class Judging:
    """Who is to judge the pairs, as the config says: its sections `annotator`, `collect.people` and `collect.judge`."""

    annotator: "AnnotatorConfig | None"
    people: Any
    model: Any
    shares: SharesConfig


class Judge(ABC):
    """Somebody who judges drawn pairs. `role` is the input of collect_preferences under which the judgements come;
    empty where that step has the judgements made. `share` is the key in `collect.sources` of what the judge gets; empty
    for one who judges all or nothing.
    """

    role: ClassVar[str] = ""
    share: ClassVar[str] = ""

    @abstractmethod
    def is_given(self, judging: Judging) -> bool:
        """Whether the config names this judge, and leaves pairs to it."""

    @abstractmethod
    def reads(self, judging: Judging) -> Mapping[str, Need]:
        """What collect_preferences reads for it, by role."""

    def rows(self, run: StepRun, config: Any) -> Rows:
        """The judgements, in collect_preferences. `config` is that step's."""
        return run.records(self.role)


class JudgeStepConfig(VerdictConfig):
    """What judge_pairs must know of every judge. Where a judge needs more it declares a class of its own on top of
    this one, so that the fingerprints of the others know nothing of it."""

    annotator: str = Field(description="Stands in every judgement: lm:<model>")
    shares: SharesConfig = Field(description="Which pairs are this judge's")


class ModelJudge(Judge):
    """A judge that judges in judge_pairs, before collect_preferences, named by `key` of `collect.judge`: that key holds
    its config, and is empty where it is not the judge. `inputs` are the step's for it alone."""

    role = "lm"
    share = "lm"
    key: ClassVar[str]
    inputs: ClassVar[Mapping[str, Input]] = {}

    def is_given(self, judging: Judging) -> bool:
        """By the key."""
        return judging.model is not None and getattr(judging.model, self.key) is not None

    def reads(self, judging: Judging) -> Mapping[str, Need]:
        """What judge_pairs made."""
        return {self.role: "dataset/lm-judgements"}

    @abstractmethod
    def name(self, model: Any) -> str:
        """What it is called where `collect.judge.name` says nothing."""

    @abstractmethod
    def needs(self, judging: Judging) -> Mapping[str, Need]:
        """What judge_pairs reads for it, by role: files, answers that are asked for before."""

    @abstractmethod
    def step_config(self, judging: Judging) -> JudgeStepConfig:
        """The config of judge_pairs."""

    def is_asked(self, run: StepRun, config: Any) -> bool:
        """Whether it is the judge of this run of judge_pairs: what it alone reads is there."""
        return any(run.all_inputs(role) for role in self.inputs)

    @abstractmethod
    def verdicts(self, run: StepRun, config: Any, pairs: Rows) -> dict[str, Ruling]:
        """What becomes of each pair, by its id."""
