"""What may follow fine-tuning in the last iteration: each stage is a file of this folder."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module

from flows.recipe import final_stages
from flows.recipe.config import RunConfig
from flows.recipe.places import Condition, Row
from models.config import SamplingConfig


@dataclass(frozen=True)
class FinalStage:
    """A stage, known by its step's name, with what the other parts of a run must know of it.

    `splits` are those without whose prompts it has nothing to do; `answers` is how it samples, which bounds the
    prompts; `pair_tokens` how long the pairs may be that it learns from.
    """

    row: Row
    splits: tuple[str, ...] = ()
    answers: Callable[[RunConfig], SamplingConfig | None] = lambda _config: None
    pair_tokens: Callable[[RunConfig], int | None] = lambda _config: None


@cache
def stages() -> Mapping[str, FinalStage]:
    """All stages by name; each has its row where the config asks for it."""
    found = {}
    for module in pkgutil.iter_modules(final_stages.__path__):
        stage = getattr(import_module(f"{final_stages.__name__}.{module.name}"), "STAGE", None)
        if isinstance(stage, FinalStage):
            name = stage.row.step.name
            found[name] = replace(stage, row=replace(stage.row, when=_asked_for(name)))
    return found


def _asked_for(name: str) -> Condition:
    return lambda at: at.final_stage == name
