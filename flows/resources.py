"""Which steps are done on other machines, by the config's `resources`, and whether they can be."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from uuid import UUID

from httpx import HTTPError
from pydantic import ValidationError

from data_store.closest import did_you_mean
from data_store.commands import halter
from data_store.errors import InputError
from flows.recipe.plan import Plan
from flows.recipe.resources_config import DEFAULT, ResourceConfig, ShardsConfig, WorkerConfig
from flows.recipe.table import STEPS
from models.config import TrainerConfig
from models.samplers.config import version_of
from tasks.engine.call import StepCall
from tasks.engine.on_ray.cluster import Cluster, Needs
from tasks.engine.remote.dispatch import Dispatch
from tasks.engine.remote.messages import FLOW, Came
from tasks.engine.remote.sent import bucket_of

if TYPE_CHECKING:
    from flows.session import Session
    from tasks.engine.on_ray.shards import ShardsTold

HERE = ResourceConfig()
SENT_STEP = "flows.sent_step"  # what a worker of Ray starts
SECTIONS = {
    "fine_tune": "fine_tune.training",
    **dict.fromkeys(("train_safety_reward", "train_helpfulness_reward", "train_gold_reward"), "reward"),
}
"""Of the trainings that are not called like their section of the config."""
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
            if resource.nodes > 1:
                raise InputError("resources.default.nodes: say it of each training by its name")
            continue
        if name not in planned:
            if name in STEPS:
                raise InputError(f"resources.{name}: the plan of this run has no step {name}: take it out")
            raise InputError(f"resources: there is no step {name!r}{did_you_mean(name, [*planned, DEFAULT])}")
        spread = {step for (_, step), call in plan.items() if call.spreads}
        if resource.shards is not None and name not in spread:
            able = ", ".join(sorted(spread))
            raise InputError(
                f"resources.{name}.shards: {name} neither draws, scores nor judges in shards with a model: {able} do"
            )
        for (part, step), call in plan.items():
            if step == name and resource.nodes > 1:
                _check_nodes(resource.nodes, call)
            if step == name and not resource.is_here and (why := _needs_this_machine(call)):
                raise InputError(
                    f"resources.{name}: {name} of {part} reads {why} from the disk of this machine, and only steps "
                    "that read the store alone can be done elsewhere: take it out"
                )


def _check_nodes(nodes: int, call: StepCall) -> None:
    """Raises InputError for a step that cannot be shared by so many machines."""
    name = f"resources.{call.step.name}.nodes"
    training = getattr(call.config, "training", None)
    if not isinstance(training, TrainerConfig):
        raise InputError(f"{name}: {call.step.name} trains nothing, and only trainings can be spread over nodes")
    section = SECTIONS.get(call.step.name, call.step.name)
    if training.processes % nodes or training.processes < nodes:
        raise InputError(
            f"{name}: {nodes} nodes cannot share {section}.processes {training.processes}: make it a multiple of "
            f"{nodes}, as many as there are GPUs in all"
        )
    sampling = getattr(training, "sampling", None)
    if sampling is not None and version_of(sampling) is not None:
        raise InputError(
            f"{name}: the answers of {section} are drawn by vLLM, which is started on one machine: take nodes out, or "
            f"{section}.sampling.sampler"
        )


def check_ready(session: "Session", computed: Iterable[tuple[str, str]]) -> None:
    """Raises InputError where steps that are to be computed elsewhere cannot be: the objects lie in a folder of this
    machine, nothing of theirs is laid out on the Prefect server, or a Ray cluster lets this process not join."""
    plan = session.plan
    resources, calls = session.config.resources, [plan[place] for place in computed]
    wanted = [resource_of(resources, call) for call in calls]
    shards = {each.ray for call in calls if (each := _shards(resources, call)) is not None}
    if all(each.is_here for each in wanted) and not shards:
        return
    bucket_of(session.store)
    for address in sorted(shards.union(each.ray for each in wanted if each.ray is not None)):
        session.clusters.at(address).start()
    if pools := sorted({each.work_pool for each in wanted if each.work_pool is not None}):
        _check_pools(pools)


def _check_pools(pools: Iterable[str]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for pool in pools:
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
    if resource.is_here:
        return None
    if resource.nodes > 1:
        _check_nodes(resource.nodes, call)  # once more: with what was set by hand
    objects = bucket_of(session.store)
    store, name = objects.store
    place = {"objects": str(objects), "store": store, "run": name}
    country = session.config.energy_country
    if resource.ray is not None:
        return _on_ray(session.clusters.at(resource.ray), resource, place, country)
    pool = resource.work_pool

    def start(sent: StepCall, prefix: str, part: int) -> str:
        from prefect.client.schemas.objects import FlowRun
        from prefect.deployments import run_deployment

        run = cast(
            FlowRun,
            run_deployment(
                f"{FLOW}/{pool}",
                # of a deployment of before nodes there is no part, and whole steps need none
                parameters={**place, "order": prefix, **({"part": part} if part else {})},
                flow_run_name=_name(sent, part),
                timeout=0,
            ),
        )
        return str(run.id)

    nodes, wait = resource.nodes, resource.wait_minutes * 60
    return Dispatch(f"a worker of pool {pool}", resource.attempts, country, start, _state, _end, nodes, wait)


def _name(sent: StepCall, part: int) -> str:
    return f"{sent.step.name} {sent.part}{f', node {part + 1}' if part else ''}"


def shards_of(session: "Session", call: StepCall) -> "ShardsTold | None":
    """Where the shards of a step are done; None where that is where the step is."""
    wanted = _shards(session.config.resources, call)
    if wanted is None:
        return None
    from tasks.engine.on_ray.shards import ShardsTold

    objects, needs = bucket_of(session.store), needs_of(wanted)
    return ShardsTold(
        ray=wanted.ray,
        cpus=needs.cpus,
        gpus=needs.gpus,
        memory=needs.memory,
        attempts=wanted.attempts,
        objects=str(objects),
        store=objects.store[0],
    )


def _shards(resources: Resources, call: StepCall) -> ShardsConfig | None:
    return resource_of(resources, call).shards if call.spreads else None


def _on_ray(cluster: Cluster, resource: ResourceConfig, place: Mapping[str, str], country: str | None) -> Dispatch:
    needs, nodes = needs_of(resource), resource.nodes

    def start(sent: StepCall, prefix: str, part: int) -> str:
        group = (prefix, part, nodes) if nodes > 1 else None
        told = {**place, "order": prefix, "part": part}
        return cluster.begin(_name(sent, part), SENT_STEP, told, needs, group=group)

    def state(task: str) -> tuple[str, str]:
        told = cluster.told(task)
        if told.state != "COMPLETED":
            return told.state, told.message
        try:
            came = Came.model_validate(told.answer)
        except ValidationError as error:
            return "FAILED", f"its answer is none: {error.errors()[0]['msg']}"
        return came.state, came.message

    worker = f"a worker of Ray at {cluster.address}"
    wait = resource.wait_minutes * 60
    return Dispatch(worker, resource.attempts, country, start, state, cluster.end, nodes, wait)


def needs_of(resource: WorkerConfig) -> Needs:
    """What a worker of Ray must have free."""
    memory = int((resource.memory_gb or 0) * 1e9)
    return Needs(1.0 if resource.cpus is None else resource.cpus, resource.gpus or 0.0, memory)


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
