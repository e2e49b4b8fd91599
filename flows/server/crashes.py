"""Runs whose process is gone end as Crashed, also where nobody was left to say so. Import it only when the server's
address is known.

A killed process tells nobody. While a server is up, it misses the heartbeats of the runs that report to it: an
automation that `halter serve` lays out. A server that is started finds what the one before it left under way.
"""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Crashed

from data_store.figures import seconds
from flows.server.cancellation import UNDER_WAY

FLOWS = ["recipe", "foundation", "iteration", "rerun"]
AUTOMATION = "halter: a run without a heartbeat has crashed"
MISSED = 3  # heartbeats
PAGE = 200  # as many as the server gives at once
GONE = "its process is gone; what it has done is kept, and the same run started again goes on from there"


def bury(client: SyncPrefectClient, pool: WorkPoolFilter | None = None) -> None:
    """Mark what is under way in the pool, or anywhere, as Crashed. Only where nobody else can be at work on it."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))
    while dead := client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=FLOWS)),
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=pool,
        limit=PAGE,
    ):
        for run in dead:
            client.set_flow_run_state(run.id, Crashed(message=GONE), force=True)


def bury_all(api: str) -> None:
    """The same for everything on the server at this address, which is not yet that of Prefect's settings where a
    process has had another server before."""
    with SyncPrefectClient(api=api) as client:
        bury(client)


def set_up_crash_detection(client: SyncPrefectClient, every: int | None) -> None:
    """Make the server mark a run of ours as Crashed when its heartbeats stop, which come `every` so many seconds, or
    not at all (None). Repeatable; what is laid out already stays, with what it has heard. A run that waits for people
    has ended, and sends none that could be missed."""
    known = client.read_automations_by_name(AUTOMATION)
    if every is None:
        for old in known:
            client.delete_automation(old.id)
        return
    automation = _automation(timedelta(seconds=MISSED * every))
    if any(old.trigger.model_dump(exclude={"id"}) == automation.trigger.model_dump(exclude={"id"}) for old in known):
        return
    for old in known:
        client.delete_automation(old.id)
    client.create_automation(automation)


def _automation(silence: timedelta) -> AutomationCore:
    return AutomationCore(
        name=AUTOMATION,
        description="Laid out by `halter serve`",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},  # whatever a run tells, above all that it has ended, in any state of ours
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                force=False,
                message=f"no heartbeat for {seconds(silence.total_seconds())}: {GONE}",
            )
        ],
    )
