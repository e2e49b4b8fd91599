"""Gates: where a metric of a step is outside the bounds of the config, the run stops there.

The step's result stays published, and a gate is no part of any fingerprint: another bound makes nothing stale. Knows no
Prefect.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from data_store.figures import figure
from flows.recipe.places import FIRST, FOUNDATION
from flows.recipe.plan import Plan
from flows.recipe.watch_config import GateConfig
from tasks.engine.call import StepCall


@dataclass(frozen=True)
class Stop:
    """A gate that does not hold. `value` is None where the step did not measure the metric: what a gate asks for and
    nobody has seen does not pass."""

    part: str
    step: str
    gate: GateConfig
    value: float | None

    @property
    def found(self) -> str:
        """Metric, value and bound."""
        if self.value is None:
            return f"{self.gate.metric} was not measured, and must be {self.gate.bounds}"
        chance = " (near chance)" if "accuracy" in self.gate.metric and abs(self.value - 0.5) <= 0.05 else ""
        return f"{self.gate.metric} is {figure(self.value)}{chance}, and must be {self.gate.bounds}"

    def __str__(self) -> str:
        return f"{self.part} {self.step}: {self.found}"


class StoppedAtGateError(RuntimeError):
    """A gate does not hold. The message names gate, value, bound, and what to do."""

    def __init__(self, stops: Sequence[Stop]) -> None:
        part, step = stops[0].part, stops[0].step.replace("_", "-")
        again = halter("rerun", part, step, "--set", "KEY=VALUE")
        super().__init__(
            f"stopped at a gate: {'; '.join(map(str, stops))}. The result is kept. Redo the step with other values "
            f"({again}), or change the bound under `gates` in the config; then the same command goes on"
        )


def check_gates(gates: Iterable[GateConfig], plan: Plan) -> None:
    """Raises InputError for a gate on a step, an iteration or a metric that the plan does not have; it suggests the
    right one."""
    for number, gate in enumerate(gates, start=1):
        where = f"gates, entry {number}"
        parts = [part for part, step in plan if step == gate.step]
        if not parts:
            steps = list(dict.fromkeys(step for _, step in plan))
            raise InputError(f"{where}: this run has no step {gate.step!r}; {_near(gate.step, steps)}")
        for part in gate.iterations:
            if part not in parts:
                raise InputError(f"{where}: {gate.step} is not in {part!r}; it is in {', '.join(parts)}")
        for part in _parts(gate, plan):
            known = plan[part, gate.step].metrics
            if gate.metric not in known:
                raise InputError(
                    f"{where}: {gate.step} of {part} measures no {gate.metric!r}; {_near(gate.metric, known)}"
                )


def stops_of(gates: Iterable[GateConfig], plan: Plan, part: str, step: str, metrics: Mapping[str, float]) -> list[Stop]:
    """The gates of this step that its metrics do not pass."""
    return [
        Stop(part, step, gate, metrics.get(gate.metric))
        for gate in gates
        if gate.step == step
        and part in _parts(gate, plan)
        and (gate.metric not in metrics or not gate.holds(metrics[gate.metric]))
    ]


def is_needed(plan: Plan, gates: Iterable[GateConfig], call: StepCall) -> bool:
    """Whether a run cannot go on without a step: others read what it makes, or a gate stands on it."""
    made = set(call.outputs.values())
    read = (asset for each in plan.values() for assets in each.assets.values() for asset in assets)
    return not made.isdisjoint(read) or any(
        gate.step == call.step.name and call.part in _parts(gate, plan) for gate in gates
    )


def _parts(gate: GateConfig, plan: Plan) -> Sequence[str]:
    """Where the gate stands."""
    if gate.iterations:
        return gate.iterations
    parts = [part for part, step in plan if step == gate.step]
    return [part for part in parts if part not in (FOUNDATION, FIRST)] or parts


def _near(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known).removeprefix("; ") or f"there are {', '.join(known)}"
