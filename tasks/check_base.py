"""Models that somebody brings, the base, judges, policies to compare with and an encoder of sentences, and a tokenizer
by itself: looked at before anything else."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pydantic import Field

from data_store.errors import InputError
from data_store.rows import CONSEQUENCES
from models.base_checks.finding import Finding
from models.config import TEMPLATE_DATE, Config, LoraConfig
from tasks.engine.step import Input, Output, StepRun, step
from tasks.judging.guidelines import LETTERS

_ROLES = ("base", "judge", "evaluation_judges", "compared", "tokenizer", "encoder")


class CheckBaseConfig(Config):
    """What the recipe will ask of the base."""

    lora: LoraConfig | None = None
    threads: int = Field(default=1, ge=1, description="CPU threads of torch")
    template_date: date = TEMPLATE_DATE


@step(
    version=1,
    config=CheckBaseConfig,
    inputs={
        "base": Input("file", optional=True),
        "judge": Input("file", optional=True),
        "evaluation_judges": Input("file", optional=True, many=True),
        "compared": Input("file", optional=True, many=True),
        "tokenizer": Input("file", optional=True),
        "encoder": Input("file", optional=True),
    },
    outputs={role: Output("dataset", "finding") for role in _ROLES},
    metrics=("checks", "difference"),
    headline="checks",
    about="Looks whether the recipe can use the base model or tokenizer, and other models that are folders.",
    tags=("foundation",),
)
def check_base(run: StepRun, config: CheckBaseConfig) -> Mapping[str, float]:
    """Refuse a model that cannot be right, before anything is trained or anybody is asked. `difference` is the largest
    one that was put down to rounding."""
    from models.base_checks.examine import (
        examine_base,
        examine_encoder,
        examine_judge,
        examine_policy,
        examine_tokenizer,
    )
    from models.devices import use_threads

    use_threads(config.threads)
    found: dict[str, list[Finding]] = {}
    for role, key, examine in (
        ("base", "base_model", lambda folder: examine_base(folder, config.lora, config.template_date)),
        ("judge", "collect.judge.folder", lambda folder: examine_judge(folder, LETTERS)),
        ("evaluation_judges", "evaluate.judges: folder", lambda folder: examine_judge(folder, LETTERS)),
        ("compared", "evaluate.against: folder", examine_policy),
        ("tokenizer", "tokenizer.folder", lambda folder: examine_tokenizer(folder, config.template_date)),
        ("encoder", "similar.encoder", examine_encoder),
    ):
        if run.wants(role):
            found[role] = _examined(run, role, key, examine)
    everything = [each for some in found.values() for each in some]
    run.table("models", [_shown(role, each) for role, some in found.items() for each in some])
    rounding = [each.difference for each in everything if each.difference is not None and not each.alone]
    return {"checks": float(len(everything)), "difference": max(rounding, default=0.0)}


def _examined(run: StepRun, role: str, key: str, examine: Callable[[Any], list[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    for number, given in enumerate(run.all_inputs(role), start=1):
        try:
            mine = examine(given.path)
        except ValueError as error:
            raise InputError(f"{key} {given.path}: {error}") from None
        found += mine if number == 1 else [replace(each, check=f"{number}: {each.check}") for each in mine]
    run.write_rows(role, [_row(each) for each in found])
    return found


def _row(finding: Finding) -> dict[str, str]:
    """Without what was measured: the same finding is the same version, on any machine."""
    consequence = CONSEQUENCES[finding.alone]
    return {"check": finding.check, "found": finding.found, "consequence": consequence}


def _shown(role: str, finding: Finding) -> dict[str, Any]:
    measured = "" if finding.difference is None else finding.difference
    return {"model": role, **_row(finding), "difference": measured}
