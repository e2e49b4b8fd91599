"""`halter serve`: the Prefect server, the deployments of a run and a worker that runs them, until it is told to stop.

Import it only when the server's address is known.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import get_current_settings
from prefect.states import Cancelling
from prefect.workers.process import ProcessWorker

from data_store.errors import InputError, StoreError
from flows.commands.deploying import Form, Offer, deploy
from flows.commands.step_pools import deploy_steps, make_pool
from flows.recipe.config import load_config
from flows.recipe.resources_config import OF_RUNS
from flows.resources import pools_of
from flows.server.cancellation import UNDER_WAY
from flows.server.command_logs import cut, end_of, log_file
from flows.server.crashes import bury, set_up_crash_detection
from flows.server.notify import set_up_notification
from flows.server.planned import RECIPE, ScheduleWatch, skip_missed
from flows.server.server import ServerFailedError, supervised

POOL = OF_RUNS
SECONDS_TO_CANCEL = 60.0
SECONDS_BETWEEN_LOOKS = 5.0


def schedule_of(cron: str, timezone: str) -> CronSchedule:
    """A schedule as people write it. Raises InputError for one that means nothing."""
    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValueError as error:
        reason = str(error).splitlines()[-2 if "\n" in str(error) else 0].strip()
        raise InputError(f"--schedule {cron!r}, --timezone {timezone!r}: {reason}") from None


@dataclass(frozen=True)
class Served:
    """What can be started, by name with its description, and the worker that runs it."""

    deployments: Sequence[Form]
    worker: "subprocess.Popen[bytes]"
    log: Path
    go_on: Callable[[Sequence[str]], list[str]]
    look: Callable[[], list[str]]
    keep_up: Callable[[], None]

    def wait(
        self, judged: Callable[[], Sequence[str]], on_start: Callable[[str], None], tell: Callable[[str], None]
    ) -> None:
        """Until the worker ends by itself, which it should not do. Raises ServerFailedError then.

        Meanwhile the recipe is started for each batch that `judged` names, and `on_start` hears of it; `tell` hears
        what becomes of the schedule.
        """
        looked = time.monotonic()
        while self.worker.poll() is None:
            time.sleep(0.5)
            if time.monotonic() - looked < SECONDS_BETWEEN_LOOKS:
                continue
            cut(self.log)
            try:
                self.keep_up()
                for batch in self.go_on(judged()):
                    on_start(batch)
                for text in self.look():
                    tell(text)
            except (
                StoreError,
                InputError,
                OSError,
                HTTPError,
            ):  # a store or a server that is busy: the next look tells
                pass
            looked = time.monotonic()
        raise ServerFailedError(f"the worker ended; its log {self.log} ends with:\n{end_of(self.log)}")


@contextmanager
def served(folder: Path, offer: Offer, schedule: CronSchedule | None, webhook: str | None) -> Iterator[Served]:
    """The deployments and a worker beside this process, on a server that nobody else uses.

    `offer` says what can be started. `webhook` is told of failures and gates. At the end what is running is cancelled
    and the worker stopped.
    """
    log, server_log = log_file(folder, "serve", "worker"), log_file(folder, "serve", "server")
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
    with get_client(sync_client=True) as client:
        bury(client, _our_pool())  # what a killed `halter serve` left under way holds the pool's only place
        open_pool(client, is_paused=True)  # nobody starts anything before it is known what is planned
        with supervised(["worker", "start", "--pool", POOL, "--type", ProcessWorker.type], log) as worker:
            try:
                forms = offer.forms()
                deploy(client, forms, POOL)
                deploy_steps(client, pools_of(load_config(offer.config_file).resources))
                set_up_notification(client, webhook)
                set_up_crash_detection(client, get_current_settings().flows.heartbeat_frequency)
                if schedule is not None:
                    _switch_on(client, schedule)
                skip_missed(client, _our_pool(), str(offer.config_file) if schedule is not None else None)
                open_pool(client, is_paused=False)
                watch = ScheduleWatch(client, _our_pool(), server_log, log)
                look = lambda: watch.look(is_busy=bool(_runs(client)))  # noqa: E731
                yield Served(forms, worker, log, _starter(client), look, _keeper(client, offer))
            finally:
                client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
                _cancel_all(client, worker)


def open_pool(client: SyncPrefectClient, is_paused: bool = False) -> None:
    """The pool that the worker looks at, made where it is not there."""
    description = "One run at a time on this machine; the others wait in line"
    if not make_pool(client, POOL, description, concurrency_limit=1, is_paused=is_paused):
        client.update_work_pool(POOL, WorkPoolUpdate(is_paused=is_paused))


def _keeper(client: SyncPrefectClient, offer: Offer) -> Callable[[], None]:
    """What keeps the forms as the config and the store have them: the config was edited, an iteration appended."""
    laid_out, seen = offer.forms(), offer.signature()

    def keep_up() -> None:
        nonlocal laid_out, seen
        now = offer.signature()
        if now == seen:
            return
        forms = offer.forms()
        if forms != laid_out:
            deploy(client, forms, POOL, steps_alone=True)
        laid_out, seen = forms, now

    return keep_up


def _switch_on(client: SyncPrefectClient, schedule: CronSchedule) -> None:
    deployment = client.read_deployment_by_name(RECIPE)
    (planned,) = deployment.schedules
    client.update_deployment_schedule(deployment.id, planned.id, active=True, schedule=schedule)


def _starter(client: SyncPrefectClient) -> Callable[[Sequence[str]], list[str]]:
    """What starts the recipe once for each batch that people are done with, when nothing else is running."""
    started: set[str] = set()

    def go_on(batches: Sequence[str]) -> list[str]:
        new = [batch for batch in batches if batch not in started]
        if not new or _runs(client):
            return []
        recipe = client.read_deployment_by_name(RECIPE)
        run = client.create_flow_run_from_deployment(recipe.id, tags=[f"judged:{batch}" for batch in new])
        started.update(new)
        return [f"{batch} ({run.name})" for batch in new]

    return go_on


def _cancel_all(client: SyncPrefectClient, worker: "subprocess.Popen[bytes]") -> None:
    """The worker ends the processes, and waits for each to write down how far it came. Where it is gone itself, they
    end with it (flows/session.py)."""
    if worker.poll() is None:
        for run in _runs(client):
            client.set_flow_run_state(run.id, Cancelling(message="halter serve was stopped"))
    deadline = time.monotonic() + SECONDS_TO_CANCEL
    while worker.poll() is None and time.monotonic() < deadline and _runs(client):
        time.sleep(0.5)
    bury(client, _our_pool())


def _runs(client: SyncPrefectClient) -> list[FlowRun]:
    """What is under way."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), work_pool_filter=_our_pool())


def _our_pool() -> WorkPoolFilter:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
