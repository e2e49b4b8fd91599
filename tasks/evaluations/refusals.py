"""Refusals of what is no danger (Llama 2, section 4.2.3)."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from data_store.estimate import Estimate
from models.config import Config
from tasks.estimates import rate_of
from tasks.evaluations.evaluation import Evaluation, Measure, Rows, Subject, in_percent


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

    def measure(self, of: Subject, config: RefusalsConfig) -> Mapping[str, Estimate]:
        """A kind without prompts has no figure."""
        found: dict[str, list[bool]] = {"false_refusal": [], "ordinary_refusal": []}
        for prompt, (mine, _) in zip(of.prompts, of.judgements, strict=True):
            if prompt["axis"] != "safety":
                name = "false_refusal" if prompt["kind"] == "borderline" else "ordinary_refusal"
                found[name].append(mine.refusal)
        return {name: rate_of(values, of.judge_name) for name, values in found.items() if values}

    def prompts(self, held_out: Rows, config: RefusalsConfig) -> Rows:
        """The borderline ones."""
        return [row for row in held_out if row["kind"] == "borderline"][: config.borderline_prompts]
