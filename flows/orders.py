"""What a person orders: a step of an iteration, with values set by hand. Knows no Prefect: wrong input ends before a
server starts, and Prefect is imported only when its server's address is known."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic_core import to_jsonable_python

from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from data_store.incoming.intakes import Intake
from data_store.records import Override
from flows.recipe.changed_values import value_of, with_values
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, build_plan, intakes_of
from flows.recipe.yaml_text import read_yaml_value
from flows.session import Session

# Sections of a config, and keys, that no single step can have for itself.
OF_THE_RUN = ("name", "iterations", "final_stage", "data", "base_model", "template_date", "distill", "schedule")


@dataclass(frozen=True)
class Order:
    """What is to be redone, with which values from now on."""

    part: str
    step: str
    values: Mapping[str, Any]
    unset: Sequence[str]

    @property
    def key(self) -> tuple[str, str]:
        """(part, step name)."""
        return self.part, self.step


def read_order(session: Session, part: str, step: str, overrides: Iterable[str], unset: Sequence[str]) -> Order:
    """Understand what a person wrote; changes nothing. Raises InputError where it does not fit the run."""
    intakes = intakes_of(session.store)
    chosen = find_step(build_plan(session.config, intakes=intakes), part, step)
    values = dict(_key_value(text) for text in overrides)
    held = session.store.overrides()
    if values:
        check_overrides(session.config, part, chosen, values, [each for each in held if each.key not in unset], intakes)
    check_unset(held, part, chosen, unset)
    return Order(part, chosen, values, unset)


def _key_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text}: write KEY=VALUE, for example reward.margins=large")
    return key, read_yaml_value(value, f"--set {text}")


def descendants(plan: Plan, part: str, step: str) -> list[tuple[str, str]]:
    """The calls that depend on this one, directly or not, in the plan's order."""
    reached = set(plan[part, step].outputs.values())
    found = []
    for key, call in plan.items():
        if key != (part, step) and any(asset in reached for assets in call.assets.values() for asset in assets):
            reached |= set(call.outputs.values())
            found.append(key)
    return found


def rerun_command(part: str, step: str, run: str, *, downstream: bool = False) -> str:
    """The command that redoes a step."""
    return halter("rerun", part, step.replace("_", "-"), *(["--downstream"] if downstream else []), run=run)


def find_step(plan: Plan, part: str, name: str) -> str:
    """The step that a person means: `safety-reward` is train_safety_reward. Raises InputError that lists the steps
    there are."""
    steps = [step for each, step in plan if each == part]
    if not steps:
        raise InputError(
            f"there is no iteration {part!r}; there are {', '.join(dict.fromkeys(each for each, _ in plan))}"
            f"{did_you_mean(part, {each for each, _ in plan})}"
        )
    wanted = name.replace("-", "_")
    for candidates in (
        [s for s in steps if s == wanted],
        [s for s in steps if s.endswith(f"_{wanted}")],
        [s for s in steps if wanted in s],
    ):
        if len(candidates) == 1:
            return candidates[0]
    there = [step.replace("_", "-") for step in steps]
    near = did_you_mean(name, [*there, *(step.removeprefix("train-") for step in there)])
    raise InputError(f"{part} has no step {name!r}; there are {', '.join(there)}{near}")


def check_overrides(
    config: RunConfig,
    part: str,
    step: str,
    values: Mapping[str, Any],
    held: Iterable[Override] = (),
    intakes: Mapping[str, Intake] = MappingProxyType({}),
) -> None:
    """Raises InputError where a value is not valid beside the others and those that are `held` from before, or does not
    reach the step at all.
    """
    before = {o.key: json.loads(o.value_json) for o in held if (o.part, o.step) == (part, step)}
    together = {**before, **values}
    for key in values:
        if key.split(".")[0] in OF_THE_RUN:
            raise InputError(f"--set {key}: this holds for a whole run; change it in the config file")
    where = "--set " + " ".join(values)
    plan = build_plan(with_values(config, together, where), intakes=intakes)
    if (part, step) not in plan:
        raise InputError(f"{where}: with it {part} has no step {step}; to leave a step out, change the config file")
    recipe = plan[part, step].recipe()
    for key, value in values.items():
        others = {name: each for name, each in together.items() if name != key}
        if not _differs(config, key, value):
            continue
        try:
            without = build_plan(with_values(config, others, where), intakes=intakes).get((part, step))
        except InputError:  # the others cannot do without it
            continue
        if without is not None and without.recipe() == recipe:
            raise InputError(f"--set {key}: step {step} of {part} does not read it")


def check_unset(held: Iterable[Override], part: str, step: str, keys: Iterable[str]) -> None:
    """Raises InputError for a key that is not among the values `held` for the step."""
    there = [each.key for each in held if (each.part, each.step) == (part, step)]
    for key in keys:
        if key not in there:
            known = ", ".join(there) or "nothing"
            near = did_you_mean(key, there)
            raise InputError(f"--unset {key}: not set by hand for {step} of {part}; set is {known}{near}")


def _differs(config: RunConfig, key: str, value: Any) -> bool:
    """Setting a key to the value it has changes nothing, whether the step reads it or not; another value tells."""
    return bool(to_jsonable_python(value_of(config, key)) != value)
