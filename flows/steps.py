"""Running steps from flows."""

from typing import Any, cast

from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.states import Completed

from data_store.errors import InputError
from flows.session import Session
from flows.waiting import Wait
from tasks.run_step import StepContext, run_step


def step_of(session: Session, part: str, step: str, force: bool = False) -> dict[str, float]:
    """Bring one step of one part up to date; returns its metrics. Raises InputError for a step that the plan lacks."""
    with _untagged():
        return cast(dict[str, float], run_step(step, part, _context(session, part, step), force))


def side_by_side(session: Session, part: str, *steps: str) -> None:
    """Bring several steps that do not need each other up to date at the same time."""
    with _untagged():
        futures = [run_step.submit(step, part, _context(session, part, step)) for step in steps]
    for future in futures:
        future.result()


def waiting(wait: Wait, result: Any) -> State[Any]:
    """The state in which a flow ends that cannot go on before people have judged, with its result so far."""
    return Completed(name="Waiting", message=f"{wait.part} waits for people: {wait}", data=result)


def _untagged() -> TagsContext:
    """Task runs bear no tags: Prefect would ask the server for a concurrency slot of each, which takes up to a second a
    step. The flow runs above them bear `iteration:V2`."""
    return TagsContext(current_tags=set())


def _context(session: Session, part: str, step: str) -> StepContext:
    plan = session.plan
    if (part, step) not in plan:
        raise InputError(f"the plan has no step {step} in {part}; `halter status` shows the steps there are")
    return StepContext(session.store, session.workers, plan[part, step], session.heard)
