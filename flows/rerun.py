"""Redoing one step of one iteration, and on request all that it feeds."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from prefect import flow, tags

from data_store.errors import InputError
from data_store.records import Override
from flows.config import RunConfig, with_values
from flows.plan import Plan, build_plan
from flows.session import session_of
from flows.steps import step_of


@flow(name="rerun", flow_run_name="rerun {step} {part}", description="One step again, and on request what it feeds")
def rerun(config: RunConfig, part: str, step: str, force: bool, downstream: bool) -> list[tuple[str, str]]:
    """Redo a step; `downstream` brings everything that depends on it up to date. Returns what was looked at, in
    order."""
    with session_of(config) as session:
        keys = [(part, step), *(descendants(session.plan, part, step) if downstream else [])]
        for number, (each_part, each_step) in enumerate(keys):
            with tags(f"iteration:{each_part}"):
                step_of(session, each_part, each_step, force=force and number == 0)
    return keys


def descendants(plan: Plan, part: str, step: str) -> list[tuple[str, str]]:
    """The calls that depend on this one, directly or not, in the plan's order."""
    reached = set(plan[part, step].outputs.values())
    found = []
    for key, call in plan.items():
        if key != (part, step) and any(asset in reached for assets in call.inputs.values() for asset in assets):
            reached |= set(call.outputs.values())
            found.append(key)
    return found


def find_step(plan: Plan, part: str, name: str) -> str:
    """The step that a person means: `safety-reward` is train_safety_reward. Raises InputError that lists the steps
    there are."""
    steps = [step for each, step in plan if each == part]
    if not steps:
        raise InputError(
            f"there is no iteration {part!r}; there are {', '.join(dict.fromkeys(each for each, _ in plan))}"
        )
    wanted = name.replace("-", "_")
    for candidates in (
        [s for s in steps if s == wanted],
        [s for s in steps if s.endswith(f"_{wanted}")],
        [s for s in steps if wanted in s],
    ):
        if len(candidates) == 1:
            return candidates[0]
    raise InputError(f"{part} has no step {name!r}; there are {', '.join(step.replace('_', '-') for step in steps)}")


def check_overrides(
    config: RunConfig, part: str, step: str, values: Mapping[str, Any], held: Iterable[Override] = ()
) -> None:
    """Raises InputError where a value is not valid beside the others and those that are `held` from before, or does not
    reach the step at all.
    """
    before = {o.key: json.loads(o.value_json) for o in held if (o.part, o.step) == (part, step)}
    together = {**before, **values}
    for key in values:
        if key.split(".")[0] in ("name", "iterations", "final_stage", "data", "base_model"):
            raise InputError(f"--set {key}: this holds for a whole run; change it in the config file")
    where = "--set " + " ".join(values)
    recipe = build_plan(with_values(config, together, where))[part, step].recipe()
    for key, value in values.items():
        others = {name: each for name, each in together.items() if name != key}
        if not _differs(config, key, value):
            continue
        try:
            without = build_plan(with_values(config, others, where))[part, step].recipe()
        except InputError:  # the others cannot do without it
            continue
        if without == recipe:
            raise InputError(f"--set {key}: step {step} of {part} does not read it")


def check_unset(held: Iterable[Override], part: str, step: str, keys: Iterable[str]) -> None:
    """Raises InputError for a key that is not among the values `held` for the step."""
    there = [each.key for each in held if (each.part, each.step) == (part, step)]
    for key in keys:
        if key not in there:
            known = ", ".join(there) or "nothing"
            raise InputError(f"--unset {key}: not set by hand for {step} of {part}; set is {known}")


def _differs(config: RunConfig, key: str, value: Any) -> bool:
    """Setting a key to the value it has changes nothing, whether the step reads it or not; another value tells."""
    content: Any = config.model_dump(mode="json")
    for name in key.split("."):
        content = content[name]
    return bool(content != value)
