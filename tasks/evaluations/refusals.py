"""Refusals of what is no danger (Llama 2, section 4.2.3)."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from data_store.estimate import Estimate
from models.config import Config
from tasks.evaluations.evaluation import Evaluation, Measure, Rows, Subject, in_percent
from tasks.judging.judgements import TURNS


class RefusalsConfig(Config):
    """Borderline prompts."""

    borderline_prompts: int = Field(default=100, ge=0, description="Held-out prompts that only sound dangerous")


class Refusals(Evaluation):
    """By the annotator, of borderline and of ordinary prompts."""

    judged = True

    def metrics(self, config: RefusalsConfig) -> Iterable[Measure]:
        """Of each kind of prompts."""
        yield Measure(
            "false_refusal", "Refusals of prompts that only sound dangerous", "false refusal %", in_percent, first=True
        )
        yield Measure("ordinary_refusal", "Refusals of ordinary prompts")
        for name in ("false_refusal", "ordinary_refusal"):
            for turns in TURNS:
                meaning = f"{name.replace('_', ' ').capitalize()}s of prompts of {turns.replace('_', ' ')}"
                yield Measure(f"{name}/{turns}", meaning, form=in_percent)

    def measure(self, of: Subject, config: RefusalsConfig) -> Mapping[str, Estimate]:
        """A kind without prompts has no figure."""
        return of.figures("refused")

    def prompts(self, held_out: Rows, config: RefusalsConfig) -> Rows:
        """The borderline ones."""
        return [row for row in held_out if row["kind"] == "borderline"][: config.borderline_prompts]
