"""The row of `check_base`, which stands before all others where somebody brings a model."""

from flows.recipe.conditions import brings_base
from flows.recipe.places import Makes, Place, Row, base, for_model, given_base, given_tokenizer, where
from tasks.check_base import CheckBaseConfig, check_base
from tasks.engine.reading import Incoming
from tasks.incoming.files import File


def _has_judge(at: Place) -> bool:
    return bool(for_model("judge")(at))


def _evaluation_judges(at: Place) -> tuple[Incoming, ...]:
    folders = (judge.folder for judge in at.config.evaluate.judges if judge.folder is not None)
    return tuple(map(File, dict.fromkeys(folders)))


def _compared(at: Place) -> tuple[Incoming, ...]:
    folders = (each.folder for each in at.config.evaluate.compared if each.folder is not None)
    return tuple(map(File, dict.fromkeys(folders)))


def the_encoder(at: Place) -> tuple[Incoming, ...]:
    """The folder of a sentence encoder, where one is given."""
    section = at.config.similar
    return () if section is None else (File(section.encoder),)


def _checking(at: Place) -> CheckBaseConfig:
    return CheckBaseConfig(lora=at.config.lora, threads=at.config.sft.threads, template_date=at.config.template_date)


def _found(at: Place) -> Makes:
    there = {"base": brings_base(at), "judge": _has_judge(at), "evaluation_judges": bool(_evaluation_judges(at))}
    there |= {"compared": bool(_compared(at)), "tokenizer": bool(given_tokenizer(at)), "encoder": bool(the_encoder(at))}
    return {role: f"{role.replace('_', '-')}-findings" for role, is_there in there.items() if is_there}


CHECK_ROW = Row(
    check_base,
    _checking,
    {
        "base": given_base,
        "judge": for_model("judge"),
        "evaluation_judges": _evaluation_judges,
        "compared": _compared,
        "tokenizer": given_tokenizer,
        "encoder": the_encoder,
    },
    _found,
    when=lambda at: bool(_found(at)),
)
FINDINGS = where(brings_base, base("dataset/base-findings"))
