"""The Prefect task that brings one step call up to date, and what a person sees of it in the Prefect UI."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed

from data_store.figures import seconds
from data_store.records import Metric, RunRecord
from data_store.store import Store
from tasks.engine.artifacts import publish_artifacts
from tasks.engine.call import StepCall
from tasks.engine.execute import FlowIds, Outcome, execute
from tasks.engine.meter import Meter
from tasks.engine.processes import Workers
from tasks.engine.remote.dispatch import Dispatch

if TYPE_CHECKING:
    from tasks.engine.on_ray.shards import ShardsTold

_SECONDS_BETWEEN_UPDATES = 2.0


class Follower(Protocol):
    """Whoever hears of the points of a step's curves; `problems` are complete when the step has ended."""

    problems: list[str]

    def points(self, record: RunRecord, points: Sequence[Metric]) -> None:
        """Some more of them."""


class StepContext:
    """Where a step runs. A plain class: Prefect would walk through a dataclass looking for futures."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        call: StepCall,
        heard: Callable[[str, str, float, str], None],
        follow: Callable[[], AbstractContextManager[Follower]],
        meter: Meter,
        dispatch: Dispatch | None = None,
        shards: "ShardsTold | None" = None,
    ) -> None:
        self.store, self.workers, self.call, self.heard, self.follow = store, workers, call, heard, follow
        self.meter, self.dispatch, self.shards = meter, dispatch, shards


@task(name="step", task_run_name="{step} {part}", cache_policy=NO_CACHE, retries=0)
def run_step(step: str, part: str, context: StepContext, force: bool = False) -> State[Any]:
    """Compute the step, or take its finished run up again (state «Cached»)."""
    logger = get_run_logger()
    bar = _ProgressBar(f"progress-{step}-{part}".replace("_", "-").lower())

    def on_progress(fraction: float, text: str) -> None:
        context.heard(part, step, fraction, text)
        bar.show(fraction, text)

    context.heard(part, step, 0.0, "started")
    ids = FlowIds(_text(flow_run.id), _text(task_run.id), _root_of(flow_run.id))
    with context.follow() as followed:
        outcome: Outcome = execute(
            context.store,
            context.workers,
            context.call,
            force=force,
            ids=ids,
            on_progress=on_progress,
            on_points=followed.points,
            meter=context.meter,
            dispatch=context.dispatch,
            shards=context.shards,
        )
    for problem in filter(None, (*followed.problems, context.meter.problem)):
        logger.warning("%s", problem)
    for note in outcome.notes:
        logger.warning("%s", note)
    for role, (asset, version) in outcome.outputs.items():
        logger.info("%s → %s (%s)%s", role, asset, version[:12], " taken up again" if outcome.cached else "")
    if outcome.edited:
        logger.warning(
            "%s of %s ran as its source was when this command loaded it, and is recorded so; edited since: %s. "
            "The next command runs what is there now",
            step,
            part,
            ", ".join(outcome.edited),
        )
    context.heard(part, step, 1.0, _ended(outcome))
    if outcome.cached:
        return Completed(name="Cached", message=f"finished before, by run {outcome.run_id}", data=dict(outcome.metrics))
    bar.show(1.0, "done", last=True)
    publish_artifacts(context.call, outcome)
    return Completed(data=dict(outcome.metrics))


def _ended(outcome: Outcome) -> str:
    if outcome.cached:
        return "cached"
    edited = f", by the source as it was loaded; {len(outcome.edited)} files edited since" if outcome.edited else ""
    notes = "".join(f"; {note}" for note in outcome.notes)
    return f"done in {seconds(outcome.seconds)}{edited}{notes}"


@lru_cache(maxsize=256)
def _root_of(_flow_run: str | None) -> str | None:
    """The run at the top of the present flow run; Prefect asks its server for it, several times."""
    return _text(flow_run.root_flow_run_id)


class _ProgressBar:
    """A progress artifact whose description carries step, loss and time left; updated every two seconds at the most."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.artifact: Any = None
        self.shown = time.monotonic()

    def show(self, fraction: float, text: str, last: bool = False) -> None:
        now = time.monotonic()
        if now - self.shown < _SECONDS_BETWEEN_UPDATES and not (last and self.artifact):
            return
        self.shown = now
        if self.artifact is None:
            self.artifact = create_progress_artifact(progress=100 * fraction, key=self.key, description=text)
        else:
            update_progress_artifact(self.artifact, progress=100 * fraction, description=text)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
