"""The row of `check_base`, which stands before all others where somebody brings a model."""

from flows.recipe.conditions import trains_base
from flows.recipe.places import Makes, Place, Row, base, for_model, the_base, where
from tasks.check_base import CheckBaseConfig, check_base


def _has_base(at: Place) -> bool:
    return not trains_base(at)


def _has_judge(at: Place) -> bool:
    return bool(for_model("judge")(at))


def _checking(at: Place) -> CheckBaseConfig:
    return CheckBaseConfig(lora=at.config.lora, threads=at.config.sft.threads, template_date=at.config.template_date)


def _found(at: Place) -> Makes:
    there = {"base": _has_base(at), "judge": _has_judge(at)}
    return {role: f"{role}-findings" for role, is_there in there.items() if is_there}


CHECK_ROW = Row(
    check_base,
    _checking,
    {"base": where(_has_base, the_base), "judge": for_model("judge")},
    _found,
    when=lambda at: _has_base(at) or _has_judge(at),
)
FINDINGS = where(_has_base, base("dataset/base-findings"))
