"""The plan of a run: every call of the recipe's steps in every part, and the groups in which they can run."""

import json
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from data_store.commands import halter
from data_store.errors import InputError
from data_store.incoming.intakes import Intake, read_intakes
from data_store.names import AssetName
from data_store.records import Override, Withdrawal
from data_store.store import Store
from flows.recipe.changed_values import with_values
from flows.recipe.compared_rows import compared_rows
from flows.recipe.config import RunConfig
from flows.recipe.judge_rows import judge_rows
from flows.recipe.places import FIRST, FOUNDATION, Place, Row
from flows.recipe.samplers import server_of
from flows.recipe.table import FIRST_ROWS, FOUNDATION_ROWS, ITERATION_ROWS, LAST_ROWS
from models.seeds import derive_seed
from tasks.engine.call import StepCall

Plan = Mapping[tuple[str, str], StepCall]


def plan_today(config: RunConfig, store: Store) -> Plan:
    """The plan with all that the store holds beside the config: overrides, withdrawals, appended iterations."""
    with store.one_state():
        return build_plan(config, store.overrides(), store.withdrawals(), intakes_of(store))


def intakes_of(store: Store) -> dict[str, Intake]:
    """Part → what it took in."""
    return {part: intake for part, (intake, _) in read_intakes(store).items()}


def parts_of(config: RunConfig, intakes: Collection[str]) -> list[str]:
    """The iterations in force: V1 … Vn of the config, and those that were appended."""
    appended = [part for part in intakes if part != FOUNDATION]
    return [*(f"V{number}" for number in range(1, config.iterations + 1)), *appended]


def build_plan(
    config: RunConfig,
    overrides: Iterable[Override] = (),
    withdrawals: Collection[Withdrawal] = (),
    intakes: Mapping[str, Intake] = MappingProxyType({}),
) -> Plan:
    """Every step call of a run, by (part, step name), in an order in which they can be made.

    An override holds for its own step of its own part, a withdrawal for the steps by which such rows enter. `intakes`:
    what the foundation and the appended iterations took in. Raises InputError for an override that no longer fits the
    config, and for appended iterations that do not.
    """
    values: dict[tuple[str, str], dict[str, object]] = {}
    for override in overrides:
        values.setdefault((override.part, override.step), {})[override.key] = json.loads(override.value_json)
    calls = {}
    for key, call in _calls(config, intakes).items():
        if key in values:
            unset = [word for name in values[key] for word in ("--unset", name)]
            back = halter("rerun", *key, *unset, run=config.name)
            where = f"override of {key[1]} in {key[0]} (`{back}` takes it back)"
            changed = with_values(config, values[key], where)
            call = _calls(changed, intakes)[key]
        calls[key] = call.without(withdrawals)
    return calls


def groups_of(plan: Plan, part: str) -> list[list[StepCall]]:
    """The calls of a part in groups: each needs nothing that its own group or a later one makes, and stands as early as
    it can. Raises ValueError where calls wait for one another."""
    waiting = {key: call for key, call in plan.items() if key[0] == part}
    makers = {asset: key for key, call in waiting.items() for asset in call.outputs.values()}
    needs = {
        key: {makers[asset] for assets in call.assets.values() for asset in assets if asset in makers}
        | {(part, name) for name in call.after if (part, name) in waiting}
        for key, call in waiting.items()
    }
    groups = []
    while waiting:
        ready = [key for key in waiting if not needs[key] & set(waiting)]
        if not ready:
            raise ValueError(f"steps of {part} wait for one another: {', '.join(name for _, name in waiting)}")
        groups.append([waiting.pop(key) for key in ready])
    return groups


def _calls(config: RunConfig, intakes: Mapping[str, Intake]) -> dict[tuple[str, str], StepCall]:
    for part, intake in intakes.items():
        if part != FOUNDATION and intake.iterations != config.iterations:
            raise InputError(
                f"iterations: {config.iterations}, but {part} was appended to {intake.iterations}: set it back; "
                "the iterations that a run appends are counted with the run, and schedule.max_iterations bounds them"
            )
    table: list[tuple[str, int, tuple[Row, ...]]] = [
        (FOUNDATION, 0, (*FOUNDATION_ROWS, *compared_rows(config))),
        (FIRST, 0, (*FIRST_ROWS, *LAST_ROWS, *judge_rows(config, 0))),
        *(
            (part, n, (*ITERATION_ROWS, *LAST_ROWS, *judge_rows(config, n)))
            for n, part in enumerate(parts_of(config, intakes), start=1)
        ),
    ]
    calls: dict[tuple[str, str], StepCall] = {}
    made: dict[AssetName, str | None] = {}
    for part, number, rows in table:
        at = Place(config, part, number, intakes)
        for row in rows:
            if row.when(at):
                call = _call(row, at)
                _check_edges(call, made)
                made |= {asset: call.step.outputs[role].rows for role, asset in call.outputs.items()}
                calls[call.key] = call
    return calls


def seed_up_to_v0(config: RunConfig) -> int:
    """What the steps of the foundation and of V0 derive their seeds from."""
    return config.seed if config.v0_seed is None else config.v0_seed


def _call(row: Row, at: Place) -> StepCall:
    makes = row.makes(at) if callable(row.makes) else row.makes
    step, config = row.step, row.config(at)
    return StepCall(
        step=step,
        part=at.part,
        config=config,
        seed=derive_seed(
            at.config.seed if at.number else seed_up_to_v0(at.config), at.part, (row.seed_of or step).name
        ),
        inputs={role: found for role, reads in row.reads.items() if (found := reads(at))},
        outputs={role: AssetName(step.outputs[role].kind, name, at.part) for role, name in makes.items()},
        after=tuple(each.name for each in row.after),
        vllm=server_of(at.config, config),
        processes=row.processes(at),
    )


def _check_edges(call: StepCall, made: Mapping[AssetName, str | None]) -> None:
    """Raises ValueError for an asset that no earlier row makes, or whose rows are of another kind than the step
    reads."""
    for role, assets in call.assets.items():
        for asset in assets:
            if asset not in made:
                raise ValueError(f"{call.step.name} of {call.part} reads {asset}, which no step before it makes")
            if made[asset] != call.step.inputs[role].rows:
                raise ValueError(
                    f"{call.step.name} of {call.part}: {asset} holds rows of kind {made[asset]}, "
                    f"and {role!r} reads {call.step.inputs[role].rows}"
                )
