"""Redoing one step of one iteration, and on request all that it feeds: `halter rerun` and the steps' deployments."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.data_look import look_into_files
from flows.ends import stopped, waiting
from flows.gates import StoppedAtGateError, is_needed
from flows.intakes import check_taken
from flows.orders import Order, descendants, read_order, rerun_command
from flows.resources import check_ready
from flows.samplers import check_servers
from flows.server.cancellation import cancellable
from flows.session import Session, recall, session_of
from flows.shown.artifact_index import publish_index
from flows.shown.dry_run import computed, foresee
from flows.shown.lineage_text import lineage_lines
from flows.shown.lineage_view import lineage_document
from flows.shown.status import Cell, status_cells
from flows.steps import prepare, step_of
from tasks.check_base import check_base


@flow(
    name="rerun",
    flow_run_name="rerun {step} {iteration}",
    description="One step of one iteration again, and on request what it feeds. The run's artifact tells what is stale "
    "afterwards, and what made the result.",
)
@cancellable
def rerun(
    iteration: Annotated[str, Field(pattern=r"^(base|V\d+)$", examples=["V2"])],
    step: str,
    overrides: list[str] = [],  # noqa: B006  (Prefect shows the default; nobody changes it)
    unset: list[str] = [],  # noqa: B006
    downstream: bool = False,
    run: str = "",
) -> list[dict[str, object]] | State[Any]:
    """Redo a step; returns the cells that are stale afterwards, as plain values. Before a step that needs people's
    judgements it ends in the state «Waiting», and after one that a gate does not let pass in «Stopped at a gate».

    With a changed value the step's fingerprint decides whether something has to be computed; without one a step that
    is up to date is computed again all the same, unless with `downstream` it is others that are stale. Raises
    InputError for what does not fit the run's plan. The UI shows these texts:

    Args:
        iteration: V1, V2 …; V0 for SFT and its evaluation, base for the foundation
        step: A step, such as safety-reward
        overrides: KEY=VALUE, one each, such as reward.margins=large; holds for this step of this iteration until unset
        unset: Keys whose values set by hand are taken back
        downstream: Then bring everything that it feeds up to date
        run: Name of the run; empty for the last one, where the form offers none
    """
    with session_of(recall(run or None)) as session:
        check_taken(session)
        order = read_order(session, iteration, step, overrides, unset)
        before = {(cell.part, cell.step): cell for cell in status_cells(session.store, session.plan)}
        for key in order.unset:
            session.store.unset_override(order.part, order.step, key)
        for key, value in order.values.items():
            session.store.set_override(order.part, order.step, key, value)
        later = descendants(session.plan, *order.key) if downstream else []
        is_wanted_itself = not any(before[key].state in ("stale", "tainted") for key in later)
        force = not order.values and not order.unset and before[order.key].state == "fresh" and is_wanted_itself
        places = [*_unchecked(before, order), order.key, *later]
        mine = [place for place in computed(foresee(session.store, session.plan)) if place in places]
        to_compute = dict.fromkeys([*mine, *([order.key] if force else [])])
        look_into_files(session, to_compute)
        session.check(to_compute)
        check_ready(session, to_compute)
        check_servers(session, to_compute)
        stop, wait = None, None
        try:
            for place in places:
                call = session.plan[place]
                if (found := prepare(session, call)) is not None:
                    wait = found
                    if is_needed(session.plan, session.config.gates, call):
                        break
                    continue
                step_of(session, *place, force=force and place == order.key)
        except StoppedAtGateError as error:
            stop = error
        stale = [cell for cell in status_cells(session.store, session.plan) if cell.state in ("stale", "tainted")]
        create_markdown_artifact(
            key=f"rerun-{order.step}-{order.part}".replace("_", "-").lower(),
            markdown=_report(session, order, stale),
            description=f"{order.step} of {order.part}: what is stale now, and what made it",
        )
        publish_index(session)
    if stop is not None:
        return stopped(stop)
    told = [cell.as_json() for cell in stale]
    return told if wait is None else waiting(wait, told)


def _unchecked(before: Mapping[tuple[str, str], Cell], order: Order) -> list[tuple[str, str]]:
    """The look at a base model or a judge that is another one now, which stands before whatever uses it."""
    check = ("base", check_base.name)
    return [check] if check in before and check != order.key and before[check].state != "fresh" else []


def _report(session: Session, order: Order, stale: Sequence[Cell]) -> str:
    """Markdown: the values set by hand, what is stale, the lineage of the step's first output."""
    lines = [f"## {order.step} of {order.part} was redone", ""]
    lines += [
        f"- set by hand: `{o.key}={o.value_json}`" for o in session.store.overrides() if (o.part, o.step) == order.key
    ]
    if stale:
        lines += ["", f"### {len(stale)} steps are stale now", "", "| iteration | step | why |", "|---|---|---|"]
        lines += [f"| {cell.part} | {cell.step} | {cell.reason} |" for cell in stale]
        command = rerun_command(order.part, order.step, session.config.name, downstream=True)
        lines += ["", f"Bring them up to date: the same once more with `downstream`, or `{command}`."]
    else:
        lines += ["", "### Nothing is stale"]
    asset = next(iter(session.plan[order.key].outputs.values()))
    made = lineage_lines(lineage_document(session.store, asset))
    lines += ["", f"### What made {asset}", "", "```", *made, "```"]
    return "\n".join(lines)
