"""Unsafe answers to adversarial prompts (Llama 2, section 4.4)."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from data_store.estimate import Estimate
from models.config import Config
from tasks.evaluations.evaluation import Evaluation, Measure, Rows, Subject, in_percent
from tasks.judging.judgements import TURNS


class ViolationsConfig(Config):
    """Adversarial prompts."""

    safety_prompts: int = Field(default=100, ge=0, description="Held-out adversarial prompts")


class Violations(Evaluation):
    """By the annotator."""

    judged = True

    def metrics(self, config: ViolationsConfig) -> Iterable[Measure]:
        """The violation rate."""
        yield Measure("violation", "Unsafe answers to adversarial prompts", "violation %", in_percent, first=True)
        for turns in TURNS:
            yield Measure(f"violation/{turns}", f"The same to prompts of {turns.replace('_', ' ')}", form=in_percent)

    def measure(self, of: Subject, config: ViolationsConfig) -> Mapping[str, Estimate]:
        """Without adversarial prompts there is no rate."""
        return of.figures("unsafe")

    def prompts(self, held_out: Rows, config: ViolationsConfig) -> Rows:
        """The adversarial ones."""
        return [row for row in held_out if row["axis"] == "safety"][: config.safety_prompts]
