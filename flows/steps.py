"""Running steps from flows."""

from collections.abc import Mapping, Sequence
from typing import cast

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.context import TagsContext

from data_store.commands import halter
from data_store.errors import InputError
from data_store.incoming.sharing import share_finished
from flows.gates import StoppedAtGateError, is_needed, stops_of
from flows.mixed import check_filtered
from flows.recipe.plan import groups_of
from flows.resources import dispatch_of, shards_of
from flows.session import Session
from tasks.engine import execute
from tasks.engine.artifacts import key_of
from tasks.engine.call import StepCall
from tasks.engine.reading import Wait
from tasks.engine.run_step import StepContext, run_step


def step_of(session: Session, part: str, step: str, force: bool = False) -> dict[str, float]:
    """Bring one step of one part up to date; returns its metrics. Raises InputError for a step that the plan lacks,
    StoppedAtGateError where its metrics do not pass the config's gates."""
    with _untagged():
        made: object = run_step(step, part, _context(session, part, step), force)
    # a task that is called, and not submitted, gives the state that it returned as it is
    metrics = cast(dict[str, float], made.result() if isinstance(made, State) else made)
    _pass_gates(session, part, {step: metrics})
    return metrics


def bring_up_to_date(session: Session, part: str) -> Wait | None:
    """Bring all steps of a part up to date, each as soon as what it reads is there; steps that do not need each other
    run at the same time. Gives what it waits for, where people have to judge first. What nobody needs may come later:
    nothing waits for it."""
    for group in groups_of(session.plan, part):
        waits = {call.step.name: prepare(session, call) for call in group}
        ready = [step for step, wait in waits.items() if wait is None]
        for call in group if session.kin else ():
            if call.step.name in ready:
                _share(session, call)
        if len(ready) == 1:
            step_of(session, part, ready[0])
        elif ready:
            side_by_side(session, part, ready)
        needed = (waits[call.step.name] for call in group if is_needed(session.plan, session.config.gates, call))
        if wait := next(filter(None, needed), None):
            return wait
    return None


def prepare(session: Session, call: StepCall) -> Wait | None:
    """What must happen before a step can read what comes from outside: an endpoint is asked, people's judgements are
    taken over. Gives what it has to wait for. Raises InputError where the filter has left a source of the mix nothing,
    before a tokenizer is trained."""
    check_filtered(session.store, session.config, call)
    return execute.prepare(session.store, call, lambda share, text: session.heard(*call.key, share, text))


def _share(session: Session, call: StepCall) -> None:
    """Take the step's finished run over from a run of the same kin, where this one lacks it."""
    inputs = execute.resolve_inputs(session.store, call)
    found = share_finished(session.store, session.kin, execute.fingerprint_of(call, inputs), inputs)
    if found is not None:
        session.heard(*call.key, 0.0, f"taken over from run {found.root.name}")


def side_by_side(session: Session, part: str, steps: Sequence[str]) -> None:
    """Bring several steps that do not need each other up to date at the same time. All of them end before a gate stops
    the run."""
    with _untagged():
        futures = [run_step.submit(step, part, _context(session, part, step)) for step in steps]
    measured = [cast(dict[str, float], future.result()) for future in futures]
    _pass_gates(session, part, dict(zip(steps, measured, strict=True)))


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
            key=f"gate-{key_of(stop.step, part)}",
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
    return StepContext(
        session.store,
        session.workers,
        plan[part, step],
        session.heard,
        session.trackers.follow,
        session.energy,
        dispatch_of(session, plan[part, step]),
        shards_of(session, plan[part, step]),
    )
