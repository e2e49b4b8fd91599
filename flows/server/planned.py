"""What becomes of the runs that the schedule plans. Import it only when the server's address is known.

Prefect plans; whether it really does is looked at here, and said. Of planned runs whose time has come while another one
was at work, or while nobody served, only the last is made up for: it takes up what all of them would have done. The
others end in the state «Skipped», which says why, so that none is late for ever and none is lost.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled

from flows.server.command_logs import end_of

RECIPE = "recipe/recipe"
SECONDS_TO_PLAN = 90.0  # Prefect's scheduler looks every 60 s
SECONDS_TO_START = 180.0  # the worker asks every 2 s; a busy machine takes its time
SKIPPED = "Skipped"
_OFF = "the schedule that had planned it is off now, or another config's"
PAGE = 200  # as many as the server gives at once


def skip_missed(client: SyncPrefectClient, pool: WorkPoolFilter, config: str | None) -> None:
    """Of the planned runs whose time came while nobody served, leave the last in line where the schedule is still on
    for the same `config`, and none where it is not (None: it is off)."""
    due = _due(client, pool)
    is_wanted = bool(due) and config is not None and due[-1].parameters.get("config") == config
    _skip(client, due, 1 if is_wanted else 0, "nobody served when its time came")


def skip_overtaken(client: SyncPrefectClient, pool: WorkPoolFilter) -> None:
    """Of the planned runs whose time came while another one was at work, leave the last in line."""
    _skip(client, _due(client, pool), 1, "another run was at work when its time came")


def _skip(client: SyncPrefectClient, due: list[FlowRun], keep: int, why: str) -> None:
    kept = due[len(due) - keep :]
    for run in due[: len(due) - len(kept)]:
        instead = f"the run planned for {_utc(kept[-1])} takes up what it would have done" if kept else _OFF
        client.set_flow_run_state(run.id, Cancelled(name=SKIPPED, message=f"{why}; {instead}"))


class ScheduleWatch:
    """Looks again and again whether the schedule does what it says. `server_log` and `worker_log` are named where it
    does not; `clock` gives seconds."""

    def __init__(
        self,
        client: SyncPrefectClient,
        pool: WorkPoolFilter,
        server_log: Path,
        worker_log: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._pool = client, pool
        self._server_log, self._worker_log = server_log, worker_log
        self._clock = clock
        self._unplanned_since: float | None = None
        self._idle_since: float | None = None
        self._told: set[str] = set()

    def look(self, is_busy: bool) -> list[str]:
        """What there is to say that was not said before. `is_busy`: a run is at work, so that others have to wait."""
        if is_busy:
            skip_overtaken(self._client, self._pool)
        return [*self._planning(), *self._starting(is_busy)]

    def _planning(self) -> list[str]:
        recipe = self._client.read_deployment_by_name(RECIPE)
        if recipe.paused or not any(schedule.active for schedule in recipe.schedules):
            self._unplanned_since = None
            self._told.discard("planned")
            return []
        coming = _planned(self._client, self._pool, _expected(after_=datetime.now(UTC)), 50)
        if coming := [run for run in coming if run.auto_scheduled]:
            self._unplanned_since = None
            self._told.discard("unplanned")
            return self._once("planned", f"next run planned for {_local(coming[0], recipe)}")
        self._unplanned_since = self._unplanned_since or self._clock()
        if self._clock() - self._unplanned_since < SECONDS_TO_PLAN:
            return []
        self._told.discard("planned")
        return self._once(
            "unplanned",
            f"the schedule is on, but no run is planned: the scheduler of the Prefect server is at fault, or the "
            f"schedule has no time to come. Runs can be started by hand. The server's log {self._server_log} "
            + _ends(self._server_log),
        )

    def _starting(self, is_busy: bool) -> list[str]:
        due = _due(self._client, self._pool)
        if is_busy or not due:
            self._idle_since = None
            self._told.discard("unstarted")
            return []
        self._idle_since = self._idle_since or self._clock()
        if self._clock() - self._idle_since < SECONDS_TO_START:
            return []
        return self._once(
            "unstarted",
            f"the run planned for {_utc(due[0])} was not started: is the work pool paused? The worker's log "
            f"{self._worker_log} " + _ends(self._worker_log),
        )

    def _once(self, what: str, text: str) -> list[str]:
        if what in self._told:
            return []
        self._told.add(what)
        return [text]


def _expected(**bounds: datetime) -> FlowRunFilterExpectedStartTime:
    return FlowRunFilterExpectedStartTime.model_validate(bounds)


def _due(client: SyncPrefectClient, pool: WorkPoolFilter) -> list[FlowRun]:
    """The planned runs whose time has come and that nobody has started, in the order of their times."""
    now, found = datetime.now(UTC), list[FlowRun]()
    while True:
        page = _planned(client, pool, _expected(before_=now), PAGE, len(found))
        found += page
        if len(page) < PAGE:
            return [run for run in found if run.auto_scheduled]


def _planned(
    client: SyncPrefectClient, pool: WorkPoolFilter, times: FlowRunFilterExpectedStartTime, limit: int, offset: int = 0
) -> list[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state, expected_start_time=times),
        work_pool_filter=pool,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=limit,
        offset=offset,
    )


def _utc(run: FlowRun) -> str:
    return f"{run.expected_start_time:%F %R} UTC"


def _local(run: FlowRun, recipe: DeploymentResponse) -> str:
    """A run's time as the schedule counts it."""
    zone = next((name for each in recipe.schedules if (name := getattr(each.schedule, "timezone", None))), "UTC")
    planned = run.expected_start_time or datetime.now(UTC)
    wait = max(timedelta(0), planned - datetime.now(UTC))
    return f"{planned.astimezone(ZoneInfo(zone)):%F %R} {zone}, in {_words(wait)}"


def _words(wait: timedelta) -> str:
    minutes = round(wait.total_seconds() / 60)
    if minutes < 2:
        return "a minute" if minutes else "less than a minute"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"


def _ends(log: Path) -> str:
    text = end_of(log).strip()
    return f"ends with:\n{text}" if text else "is empty"
