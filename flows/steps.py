"""Running steps from flows."""

from collections.abc import Mapping
from typing import Any, cast

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.states import Completed, Failed

from data_store.commands import halter
from data_store.errors import InputError
from flows.gates import StoppedAtGateError, stops_of
from flows.session import Session
from flows.waiting import Wait
from tasks.run_step import StepContext, run_step


def step_of(session: Session, part: str, step: str, force: bool = False) -> dict[str, float]:
    """Bring one step of one part up to date; returns its metrics. Raises InputError for a step that the plan lacks,
    StoppedAtGateError where its metrics do not pass the config's gates."""
    with _untagged():
        made: object = run_step(step, part, _context(session, part, step), force)
    # a task that is called, and not submitted, gives the state that it returned as it is
    metrics = cast(dict[str, float], made.result() if isinstance(made, State) else made)
    _pass_gates(session, part, {step: metrics})
    return metrics


def side_by_side(session: Session, part: str, *steps: str) -> None:
    """Bring several steps that do not need each other up to date at the same time. All of them end before a gate stops
    the run."""
    with _untagged():
        futures = [run_step.submit(step, part, _context(session, part, step)) for step in steps]
    measured = [cast(dict[str, float], future.result()) for future in futures]
    _pass_gates(session, part, dict(zip(steps, measured, strict=True)))


def waiting(wait: Wait, result: Any) -> State[Any]:
    """The state in which a flow ends that cannot go on before people have judged, with its result so far."""
    return Completed(name="Waiting", message=f"{wait.part} waits for people: {wait}", data=result)


def nothing_new(text: str, result: Any) -> State[Any]:
    """The state in which a flow ends that has found nothing to do."""
    return Completed(name="Nothing new", message=text, data=result)


def up_to_date(text: str, result: Any) -> State[Any]:
    """The state in which a flow ends whose steps are all finished: none of them is gone through."""
    return Completed(name="Up to date", message=text, data=result)


def stopped(error: StoppedAtGateError) -> State[Any]:
    """The state in which a flow ends that a gate has stopped. Prefect's events and automations know it by its name."""
    return Failed(name="Stopped at a gate", message=str(error), data=error)


def _pass_gates(session: Session, part: str, measured: Mapping[str, Mapping[str, float]]) -> None:
    """Also what was taken up again has to pass: the bound may be another one today."""
    gates = session.config.gates
    if not gates:
        return
    plan = session.plan
    stops = [stop for step, metrics in measured.items() for stop in stops_of(gates, plan, part, step, metrics)]
    if not stops:
        return
    error = StoppedAtGateError(stops)
    for stop in stops:
        create_markdown_artifact(
            key=f"gate-{stop.step}-{part}".replace("_", "-").lower(),
            markdown=f"## {stop.step} of {part} is at a gate\n\n{error}",
            description=f"{part} {stop.step}: {stop.gate.metric}",
        )
    raise error


def _untagged() -> TagsContext:
    """Task runs bear no tags: Prefect would ask the server for a concurrency slot of each, which takes up to a second a
    step. The flow runs above them bear `iteration:V2`."""
    return TagsContext(current_tags=set())


def _context(session: Session, part: str, step: str) -> StepContext:
    plan = session.plan
    if (part, step) not in plan:
        raise InputError(f"the plan has no step {step} in {part}; `{halter('status')}` shows the steps there are")
    return StepContext(session.store, session.workers, plan[part, step], session.heard)
