"""Which steps are done on other machines, by the config's `resources`, and whether they can be."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from uuid import UUID

from httpx import HTTPError

from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from flows.recipe.plan import Plan
from flows.recipe.resources_config import DEFAULT, ResourceConfig
from flows.recipe.table import STEPS
from tasks.engine.call import StepCall
from tasks.engine.remote.messages import FLOW
from tasks.engine.remote.sent import Dispatch, bucket_of

if TYPE_CHECKING:
    from flows.session import Session

HERE = ResourceConfig()
Resources = dict[str, ResourceConfig]


def resource_of(resources: Resources, call: StepCall) -> ResourceConfig:
    """Where a step is to be done. What is said of all by `default` does not hold for those that need this machine."""
    if (own := resources.get(call.step.name)) is not None:
        return own
    return HERE if _needs_this_machine(call) else resources.get(DEFAULT, HERE)


def pools_of(resources: Resources) -> list[str]:
    """The work pools that are named."""
    return sorted({each.work_pool for each in resources.values() if each.work_pool is not None})


def check_resources(resources: Resources, plan: Plan) -> None:
    """Raises InputError for a step that the plan does not have, and for one that cannot be done elsewhere."""
    planned = {step for _, step in plan}
    for name, resource in resources.items():
        if name == DEFAULT:
            continue
        if name not in planned:
            if name in STEPS:
                raise InputError(f"resources.{name}: the plan of this run has no step {name}: take it out")
            raise InputError(f"resources: there is no step {name!r}{did_you_mean(name, [*planned, DEFAULT])}")
        for (part, step), call in plan.items():
            if step == name and resource.work_pool is not None and (why := _needs_this_machine(call)):
                raise InputError(
                    f"resources.{name}: {name} of {part} reads {why} from the disk of this machine, and only steps "
                    "that read the store alone can be done elsewhere: take it out"
                )


def check_ready(session: "Session", computed: Iterable[tuple[str, str]]) -> None:
    """Raises InputError where steps that are to be computed elsewhere cannot be: the objects lie in a folder of this
    machine, or nothing of theirs is laid out on the Prefect server."""
    plan = session.plan
    pools = {resource_of(session.config.resources, plan[place]).work_pool for place in computed}
    wanted = sorted(pool for pool in pools if pool is not None)
    if not wanted:
        return
    bucket_of(session.store)
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for pool in wanted:
            try:
                client.read_deployment_by_name(f"{FLOW}/{pool}")
            except ObjectNotFound:
                command = halter("deploy", "CONFIG")
                raise InputError(
                    f"resources: the Prefect server knows nothing of {FLOW}/{pool}: `{command}` lays it out there "
                    "(PREFECT_API_URL names the server, which the workers must reach, too)"
                ) from None


def dispatch_of(session: "Session", call: StepCall) -> Dispatch | None:
    """How a step is sent to where it is done; None for one that is done here."""
    resource = resource_of(session.config.resources, call)
    if resource.work_pool is None:
        return None
    objects = bucket_of(session.store)
    pool, (store, name) = resource.work_pool, objects.store

    def start(sent: StepCall, prefix: str) -> str:
        from prefect.client.schemas.objects import FlowRun
        from prefect.deployments import run_deployment

        run = cast(
            FlowRun,
            run_deployment(
                f"{FLOW}/{pool}",
                parameters={"objects": str(objects), "store": store, "run": name, "order": prefix},
                flow_run_name=f"{sent.step.name} {sent.part}",
                timeout=0,
            ),
        )
        return str(run.id)

    return Dispatch(pool, resource.attempts, session.config.energy_country, start, _state, _end)


def _state(run: str) -> tuple[str, str]:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run)).state
        except ObjectNotFound:
            return "CANCELLED", "its flow run was deleted"
        except HTTPError as error:  # a server that is busy: the next question tells
            return "UNKNOWN", str(error)
    return ("SCHEDULED", "") if state is None else (state.type.value, state.message or state.name or "")


def _end(run: str) -> None:
    """A run that no worker has taken yet is not to be taken, and one at work hears on its line that nobody waits."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled

    with get_client(sync_client=True) as client, suppress(ObjectNotFound, HTTPError):
        client.set_flow_run_state(UUID(run), Cancelled(message="its flow waits for it no more"), force=True)


def _needs_this_machine(call: StepCall) -> str:
    """What a step reads outside the store; empty where that is nothing."""
    return ", ".join(str(path) for paths in call.files.values() for path in paths)
