"""What an evaluation is. Each is a file of this folder; tasks/evaluations/registry.py names them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from data_store.estimate import Estimate
from data_store.figures import percent, rate
from models.config import Config, SamplingConfig
from tasks.answers import Dialogue, Drawn, response_of
from tasks.engine.step import Input, Measurements, StepRun
from tasks.judging.judgements import SFT, figures_of, judgement
from tasks.sampling import score
from world.annotator import Annotator

if TYPE_CHECKING:
    from torch import nn

Rows = list[dict[str, Any]]
Scores = list[tuple[float, ...]]


class AnsweringConfig(Config):
    """How the policy answers."""

    temperature: float = Field(default=0.7, gt=0, description="At which the policy answers")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="How the policy answers")


@dataclass(frozen=True)
class Measure:
    """One number of an evaluation. `column` is its title in the tables of a run, in the first one where it is `first`;
    without a title it stands in none. `form` writes the number. `chance` is what guessing gives, where the number says
    how good somebody is: one whose interval reaches down to it is marked."""

    name: str
    meaning: str
    column: str = ""
    form: Callable[[float], str] = rate
    first: bool = False
    chance: float | None = None


def in_percent(value: float) -> str:
    """A share, under a title that says %."""
    return percent(value, 1).rstrip("%")


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a policy with its answers to the held-out prompts, one each. `baseline`: the answers of SFT as
    rows, by prompt id. `base` is the model that adapters stand on. `speaker`: who answers for the policy what it is
    asked beside them; None: itself."""

    run: StepRun
    policy: Any
    renderer: Any
    base: Path | None
    annotator: Annotator | None
    prompts: Rows
    answers: Sequence[Drawn]
    baseline: Mapping[str, Mapping[str, Any]]
    speaker: Any = None

    @cached_property
    def judgements(self) -> Rows:
        """What the annotator says of each answer, as rows of kind judgement: its score on the prompt's axis, whether it
        is better than the baseline's, and whether it is unsafe, or refuses."""
        rows: Rows = []
        for prompt, answer, other in zip(self.prompts, self.answers, self._others, strict=True):
            key, axis, messages = prompt["prompt_id"], prompt["axis"], prompt["messages"]
            mine = self.judge.judge(messages, answer.text, answer.finished)
            own = getattr(mine, axis)
            opposing = getattr(self.judge.judge(messages, other["text"], other["finished"]), axis)
            win = 0.5 if own == opposing else float(own > opposing)
            rows.append(judgement(key, self.judge_name, "score", own))
            rows.append(judgement(key, self.judge_name, "better", win, against=SFT))
            question, told = ("unsafe", mine.unsafe) if axis == "safety" else ("refused", mine.refusal)
            rows.append(judgement(key, self.judge_name, question, float(told)))
        return rows

    def scores(self, models: "Sequence[nn.Module]", dialogues: Sequence[Dialogue], sampling: SamplingConfig) -> Scores:
        """Raw reward scores of dialogues, one per model; the step's progress goes on meanwhile."""
        return score(models, self.renderer, dialogues, sampling, self.scored())

    def scored(self) -> Callable[[float], None]:
        """Hears how much of some scoring is done; how much more will come nobody knows."""
        return self.run.part_of_rest(0.4, "scoring answers")

    def figures(self, *questions: str) -> dict[str, Estimate]:
        """The figures of the annotator's judgements."""
        return figures_of(self.judgements, {row["prompt_id"]: row for row in self.prompts}, questions, self.judge_name)

    @property
    def judge(self) -> Annotator:
        """The annotator. Raises ValueError where there is none."""
        if self.annotator is None:
            raise ValueError("there is no annotator: nobody to judge")
        return self.annotator

    @property
    def judge_name(self) -> str:
        """The name that its judgements bear."""
        return self.judge.name

    @property
    def context_length(self) -> int:
        """Tokens that the policy reads at once."""
        length: int = self.policy.config.max_position_embeddings
        return length

    def replied(self) -> list[Dialogue]:
        """Each prompt with the policy's answer."""
        return [(p["messages"], a) for p, a in zip(self.prompts, self.answers, strict=True)]

    def baseline_replied(self) -> list[Dialogue]:
        """The same with the baseline's."""
        return [response_of(other) for other in self._others]

    @property
    def _others(self) -> list[Mapping[str, Any]]:
        return [self.baseline[prompt["prompt_id"]] for prompt in self.prompts]


class Evaluation(ABC):
    """One thing that is measured of a policy. It is left out where the plan gives not all that it reads (`inputs`, by
    role, beside policy, prompts and baseline), or nobody judges and it is `judged`.

    Its config is a class of its own, which the registry joins with the others': its fields are keys of `evaluate`.
    `headline` names the metric that stands for a policy in a grid; the first evaluation that has one gives it.
    """

    inputs: ClassVar[Mapping[str, Input]] = {}
    judged: ClassVar[bool] = False
    headline: ClassVar[str] = ""

    @abstractmethod
    def metrics(self, config: Any) -> Iterable[Measure]:
        """What it gives at most: a metric of which the data have nothing is left out."""

    @abstractmethod
    def measure(self, of: Subject, config: Any) -> Measurements:
        """The metrics by name, each of a sample as an estimate."""

    def prompts(self, held_out: Rows, config: Any) -> Rows:
        """The prompts that it wants answered, of the held-out ones in the order of their ids."""
        return []
