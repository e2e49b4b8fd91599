"""The deployments of single steps: one in each work pool that a config's `resources` name. Import it only when the
server's address is known."""

from collections.abc import Iterable
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.remote_step import remote_step
from tasks.engine.remote.messages import FLOW


def make_pool(client: SyncPrefectClient, name: str, description: str, **more: Any) -> bool:
    """A work pool of processes, where there is none of that name; gives whether it was made."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=name, type=ProcessWorker.type, description=description, base_job_template=template, **more
            )
        )
        return True
    return False


def deploy_steps(client: SyncPrefectClient, pools: Iterable[str]) -> list[str]:
    """Lay them out, repeatably; gives their full names. A pool that is not there is made, of type process; one that is
    there stays as it is, of whatever type. Their workers look for the flow where they have halter installed, so nothing
    is said of folders."""
    flow_id = client.create_flow_from_name(FLOW)
    names = []
    for pool in pools:
        make_pool(client, pool, "Single steps of runs whose flows are at work elsewhere")
        client.create_deployment(
            flow_id=flow_id,
            name=pool,
            description="Started by the flows of runs whose `resources` name this pool; not by hand.",
            parameter_openapi_schema=parameter_schema(remote_step).model_dump_for_openapi(),
            enforce_parameter_schema=False,
            entrypoint=f"{remote_step.fn.__module__}.{remote_step.fn.__name__}",
            work_pool_name=pool,
        )
        names.append(f"{FLOW}/{pool}")
    return names
