"""One page of the Prefect UI that leads to all others of a run: its figures, and by iteration and step what each step
left to look at. Artifacts are not in the UI's navigation.

Import it only when the server's address is known.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
)
from prefect.client.schemas.objects import Artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from data_store.commands import halter
from data_store.store import Store
from flows.recipe.plan import Plan
from flows.session import Session
from flows.shown.status import Cell, status_cells
from flows.shown.summary import Row, judged_by, legend, meanings, outdated, summary_rows, tables_of
from tasks.engine.artifacts import key_of

_FIRST = ("progress-per-iteration", "Figures per policy")  # keys and titles of the tables
_FURTHER = ("further-figures", "Further figures")
_PAGE = 100  # artifacts the server is asked for at once


def index_key(run: str) -> str:
    """The key of a run's index: it keeps its address over all flow runs of the run."""
    plain = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    told = plain if plain == run else f"{plain}-{hashlib.sha256(run.encode()).hexdigest()[:8]}".lstrip("-")
    return f"index-{told}"


def index_address(run: str) -> str:
    """Where that is in the UI."""
    return f"/artifacts/key/{index_key(run)}"


def publish_index(session: Session, flow_runs: Iterable[str | None] = ()) -> tuple[list[Row], str]:
    """Write the index of a run anew, and its figures as tables; returns the figures, and a line that says where the
    index is. `flow_runs` are those whose own artifacts belong to it, beside the present one's."""
    plan, store, name = session.plan, session.store, session.config.name
    cells = status_cells(store, plan)
    rows = summary_rows(session, cells)
    told = "; ".join([judged_by(rows), *legend(rows)])
    for number, table in enumerate(tables_of(rows)):
        key, what = _FURTHER if number else _FIRST
        more = f"-{number}" if number > 1 else ""
        create_table_artifact(key=f"{key}{more}", table=table, description=f"{what}, {told}")
    made = _made_by(store, plan)
    own = (flow_run.id, *flow_runs)
    found = _artifacts(_ids(made.values()), _ids(own))
    index = create_markdown_artifact(
        key=index_key(name),
        markdown=index_page(name, session.config.description, cells, rows, made, found),
        description=f"All that {name} has to show, by iteration",
    )
    url = get_current_settings().ui_url or ""
    where = f"all that {name} has to show: {url}/artifacts/artifact/{index}"
    get_run_logger().info(where)
    return rows, where


def index_page(
    name: str,
    description: str,
    cells: Sequence[Cell],
    rows: Sequence[Row],
    made: Mapping[tuple[str, str], str | None],
    artifacts: Iterable[Artifact],
) -> str:
    """Markdown. `made` maps the plan's (part, step) to the task run that made what is current."""
    by_task: dict[str, list[Artifact]] = {}
    others: list[Artifact] = []
    for artifact in artifacts:
        if artifact.type != "progress" and not (artifact.key or "").startswith("index-"):
            (by_task.setdefault(str(artifact.task_run_id), []) if artifact.task_run_id else others).append(artifact)
    lines = [f"# {name}", "", description, "", f"As one page to keep or to send: `{halter('report', run=name)}`"]
    lines += ["", f"## Figures, {judged_by(rows)}", ""]
    for table in tables_of(rows):
        lines += [*_table(table), ""]
    lines += [f"- {line}" for line in (*legend(rows), *outdated(rows))]
    for part in dict.fromkeys(cell.part for cell in cells):
        lines += ["", f"## {part}", "", "| step | state | to look at |", "|---|---|---|"]
        for cell in (each for each in cells if each.part == part):
            links = _links(by_task.get(str(made.get((part, cell.step))), []), cell)
            lines.append(f"| {cell.step} | {cell.state} | {links or '–'} |")
    if others:
        lines += ["", "## Of the run itself", ""]
        lines += [f"- [{each.key}](/artifacts/artifact/{each.id}): {each.description or ''}" for each in others]
    lines += ["", "## What the columns mean", "", "| column | meaning |", "|---|---|"]
    lines += [f"| {column} | {meaning} |" for column, meaning in meanings()]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return lines + ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]


def _links(artifacts: Sequence[Artifact], cell: Cell) -> str:
    """Links to what a step left, its report first."""
    ending = f"-{key_of(cell.step, cell.part)}"
    named = [((each.key or "artifact").removesuffix(ending), each.id) for each in artifacts]
    named.sort(key=lambda each: (each[0] != "report", each[0]))
    return ", ".join(f"[{name}](/artifacts/artifact/{number})" for name, number in named)


def _made_by(store: Store, plan: Plan) -> dict[tuple[str, str], str | None]:
    """(part, step) → the task run of Prefect that made what is current."""
    heads = store.heads()
    tasks = {run.run.run_id: run.run.prefect_task_run_id for run in store.runs()}
    made: dict[tuple[str, str], str | None] = {}
    for key, call in plan.items():
        run_ids = [heads[asset].run_id for asset in call.outputs.values() if asset in heads]
        made[key] = next((tasks.get(run_id) for run_id in run_ids if run_id is not None), None)
    return made


def _ids(texts: Iterable[str | None]) -> list[UUID]:
    """A record from another store can hold anything."""
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(UUID(text or ""))
    return found


def _artifacts(task_runs: Sequence[UUID], flow_runs: Sequence[UUID]) -> list[Artifact]:
    """What the server still has of these task runs, and what these flow runs themselves left."""
    with get_client(sync_client=True) as client:
        filters = [
            ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=list(task_runs))),
            ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(flow_runs))),
        ]
        found: dict[UUID, Artifact] = {}
        for asked in filters:
            for start in range(0, 100 * _PAGE, _PAGE):
                page = client.read_artifacts(artifact_filter=asked, limit=_PAGE, offset=start)
                found |= {each.id: each for each in page}
                if len(page) < _PAGE:
                    break
    current = {None, *task_runs}  # steps of a flow run that were made anew since have left others
    return [each for each in found.values() if each.task_run_id in current]
