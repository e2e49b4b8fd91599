"""What can be started from the Prefect UI: the recipe, and each step that the plan of its config really has.

The list, the descriptions and the choices in the forms are made from the plan, so that nothing is offered that a run
would refuse. Import it only when the server's address is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema

from data_store.layout import MARKER
from data_store.store import Store
from flows.pipeline import recipe
from flows.recipe.config import RunConfig, load_config
from flows.recipe.plan import Plan, build_plan, plan_today
from flows.rerun import rerun
from flows.session import store_root
from flows.shown.artifact_index import index_address

CATALOG = "catalog.duckdb"
PREFIX = "step-"  # the UI sorts by name: `recipe` comes before all of them


@dataclass(frozen=True)
class Form:
    """One deployment of a run: a flow, what its form is filled in with, and the values to choose from."""

    run: str
    name: str
    flow: Flow[..., Any]
    description: str
    tags: Sequence[str]
    parameters: Mapping[str, str]
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As `prefect deployment run` takes it."""
        return f"{self.flow.name}/{self.name}"

    @property
    def schema(self) -> dict[str, Any]:
        """The flow's parameters, those with choices as lists to choose from. The server refuses any other: else it
        would make a run of it, which crashes."""
        schema: dict[str, Any] = parameter_schema(self.flow).model_dump_for_openapi() | {"additionalProperties": False}
        for name, choices in self.choices.items():
            about = schema["properties"][name]
            kept = {key: about[key] for key in ("title", "description", "position") if key in about}
            default = {"default": choices[0]} if len(choices) == 1 else {}
            schema["properties"][name] = {**kept, **default, "type": "string", "enum": list(choices)}
        return schema


@dataclass(frozen=True)
class Offer:
    """The config file whose run can be started. It is read anew each time: it may be edited, and a run may append
    iterations."""

    config_file: Path

    def forms(self) -> list[Form]:
        """The recipe first, then the steps in the order in which they are made."""
        config = load_config(self.config_file)
        root = store_root(config.name)
        plan = plan_today(config, Store.open(root)) if (root / MARKER).exists() else build_plan(config)
        return forms_of(config, plan, self.config_file)

    def signature(self) -> tuple[object, ...]:
        """Another one where the forms may be others."""
        read = (self.config_file, store_root(load_config(self.config_file).name) / CATALOG)
        return tuple((each.stat().st_mtime_ns, each.stat().st_size) if each.exists() else None for each in read)


def forms_of(config: RunConfig, plan: Plan, config_file: Path) -> list[Form]:
    """What a run offers."""
    steps: dict[str, list[str]] = {}
    for part, step in plan:
        steps.setdefault(step, []).append(part)
    calls = {step: plan[parts[0], step] for step, parts in steps.items()}
    all_of_it = (
        f"The whole recipe of {config.name}, in order: {', '.join(calls)}. Finished steps are known by their "
        "fingerprints and not done again, so a run takes up where the last one stopped, and costs seconds when "
        "nothing is new."
    )
    forms = [Form(config.name, "recipe", recipe, all_of_it, ["recipe"], {"config": str(config_file)})]
    for step, parts in steps.items():
        word = step.replace("_", "-")
        where = parts[0] if len(parts) == 1 else f"{parts[0]} to {parts[-1]}"
        choices = {"iteration": parts, "step": [word], "run": [config.name]}
        forms.append(
            Form(
                config.name,
                PREFIX + word,
                rerun,
                f"{word} once more, of {where}. {calls[step].step.about}",
                ["step", *calls[step].step.tags],
                {name: values[0] for name, values in choices.items() if len(values) == 1},
                choices,
            )
        )
    return forms


def deploy(client: SyncPrefectClient, forms: Sequence[Form], pool: str, steps_alone: bool = False) -> None:
    """Lay the deployments out in the pool, and take away those of its flows that are no longer offered.

    The recipe's schedule is off, for nothing trains unasked; it has no slug, which the UI would show in place of its
    time. With `steps_alone` it stays as it is: laying a deployment
    out anew takes the runs away that were planned of it.
    """
    flows = {each.flow.name: client.create_flow_from_name(each.flow.name) for each in forms}
    for form in forms:
        if steps_alone and form.flow is recipe:
            continue
        nightly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *", timezone="UTC"), active=False)
        client.create_deployment(
            flow_id=flows[form.flow.name],
            name=form.name,
            description=f"{form.description}\n\n[What its runs have to show]({index_address(form.run)})",
            tags=list(form.tags),
            parameters=dict(form.parameters),
            parameter_openapi_schema=form.schema,
            enforce_parameter_schema=True,
            entrypoint=f"{form.flow.fn.__module__}.{form.flow.fn.__name__}",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}],
            schedules=[nightly] if form.flow is recipe else [],
            work_pool_name=pool,
        )
    wanted = {form.full_name for form in forms}
    names = {flow: name for name, flow in flows.items()}
    there = client.read_deployments(work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])))
    for each in there:
        if each.flow_id in names and f"{names[each.flow_id]}/{each.name}" not in wanted:
            client.delete_deployment(each.id)
