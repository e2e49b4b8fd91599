"""Rows of the recipe that read the files of the config, and fit what was read into the context."""

from collections.abc import Mapping

from flows.recipe.conditions import (
    has_demonstrations,
    has_instructions,
    has_prompts,
    has_similar,
    has_world,
    imports_pairs,
    is_fitted,
    trains_base,
)
from flows.recipe.context_row import preprompts
from flows.recipe.places import Makes, Place, Reads, Row, data_files, here, the_tokenizer, where
from flows.recipe.reward_test_rows import REWARD_TESTS
from flows.recipe.step_configs import fitting, reading
from tasks.check_base import check_base
from tasks.drop_similar import COMPARED
from tasks.engine.reading import Incoming
from tasks.file_roles import ROLES
from tasks.fit_context import FITTED, fit_context
from tasks.import_benchmarks import import_benchmarks
from tasks.import_data import import_data

IMPORTED: Mapping[str, Reads] = {**{role: data_files(role) for role in ROLES}, "reward_tests": REWARD_TESTS}


def _raw(at: Place) -> Makes:
    wanted = {
        "documents": trains_base(at),
        "demonstrations": has_demonstrations(at),
        "prompts": has_prompts(at),
        "preferences": imports_pairs(at),
    }
    rest = {
        **({"instructions": "instructions"} if has_instructions(at) else {}),
        **({} if has_world(at) else {"refused": "refused"}),
    }
    return {**{role: f"raw-{role}" for role, is_wanted in wanted.items() if is_wanted}, **rest}


def _fitted(at: Place) -> Makes:
    return {**{role: role for role in FITTED if role in _raw(at)}, "dropped": "too-long"}


def _raw_of(role: str) -> Reads:
    """As it was imported, or what is left of it where rows that mean the same are dropped."""

    def of(at: Place) -> tuple[Incoming, ...]:
        kind = "distinct" if has_similar(at) and role in COMPARED else "raw"
        return here(f"dataset/{kind}-{role}")(at) if role in _raw(at) else ()

    return of


RAW: Mapping[str, Reads] = {
    **{role: _raw_of(role) for role in FITTED},
    "instructions": where(has_instructions, here("dataset/instructions")),
    "preprompts": preprompts,
    "tokenizer": the_tokenizer,
}

IMPORT_ROW = Row(import_data, reading, IMPORTED, _raw, after=(check_base, import_benchmarks))
FIT_ROW = Row(fit_context, fitting, RAW, _fitted, when=is_fitted)
