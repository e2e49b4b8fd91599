"""The rows of SFT and of the base model's own answers, which it learns beside the demonstrations."""

from flows.recipe.check_row import FINDINGS
from flows.recipe.conditions import has_demonstrations, has_policy
from flows.recipe.lengths import limits
from flows.recipe.places import Place, Row, base, the_base, where
from tasks.engine.reading import Incoming
from tasks.own_answers import OwnAnswersStepConfig, draw_own_answers
from tasks.sft import SFTStepConfig, sft


def _has_own_answers(at: Place) -> bool:
    return at.config.own_answers is not None


def _config(at: Place) -> OwnAnswersStepConfig:
    section = at.config.own_answers
    if section is None:
        raise AssertionError("the row is there where there are own answers")
    return OwnAnswersStepConfig(
        **section.model_dump(),
        dialogue_tokens=limits(at.config)["dialogue_tokens"],
        template_date=at.config.template_date,
    )


def demonstrations(at: Place) -> tuple[Incoming, ...]:
    """What SFT learns and fine-tuning replays."""
    given = where(has_demonstrations, base("dataset/demonstrations"))
    return (*given(at), *where(_has_own_answers, base("dataset/own-answers"))(at))


OWN_ANSWERS_ROW = Row(
    draw_own_answers,
    _config,
    {"base": the_base, "prompts": base("dataset/prompts")},
    {"dialogues": "own-answers"},
    when=_has_own_answers,
)

SFT_ROW = Row(
    sft,
    lambda at: SFTStepConfig(training=at.config.sft, lora=at.config.lora, template_date=at.config.template_date),
    {"demonstrations": demonstrations, "base": the_base, "findings": FINDINGS},
    {"policy": "policy"},
    when=has_policy,
)
