"""Tables, pictures and texts of a step for the Prefect UI.

What models and people wrote is shown as plain text: in tables, whose cells the UI does not interpret, and side by side
in blocks of code (tasks/engine/side_by_side.py).
"""

from collections.abc import Iterator
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from data_store.commands import halter
from data_store.estimate import Estimate
from data_store.figures import figure, interval, marks, named
from tasks.engine.call import StepCall
from tasks.engine.curves import pictures
from tasks.engine.execute import Outcome
from tasks.engine.side_by_side import fits, side_by_side

EXAMPLES = "examples"  # the name of tables of texts that people compare


def publish_artifacts(call: StepCall, outcome: Outcome) -> None:
    """A report with metrics and lineage, the step's own tables, and its curves."""
    key, of = key_of(call.step.name, call.part), f"{call.step.name} of {call.part}"
    create_markdown_artifact(key=f"report-{key}", markdown=report(call, outcome), description=of)
    for name, rows in outcome.tables.items():
        if not rows:
            continue
        cells = [{column: written(value) for column, value in row.items()} for row in rows]
        if name != EXAMPLES and fits(cells):
            create_table_artifact(key=f"{name}-{key}", table=cells, description=f"{name}: {of}")
        else:
            text = side_by_side(cells)
            create_markdown_artifact(key=f"{name}-{key}", markdown=text, description=f"{name}: {of}")
    for number, picture in enumerate(pictures(outcome.curves), start=1):
        more = "" if number == 1 else f"-{number}"
        description = f"Curves of {of}" if number == 1 else f"Further curves of {of}"
        create_image_artifact(key=f"curves{more}-{key}", image_url=picture, description=description)


def key_of(step: str, part: str) -> str:
    """What the keys of a step's artifacts end with."""
    return f"{step}-{part}".replace("_", "-").lower()


def written(value: Any) -> Any:
    """A cell of a table: numbers as people read them."""
    return figure(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def report(call: StepCall, outcome: Outcome) -> str:
    """Markdown: what the step measured, what it read, what it made."""
    lines = [f"## {call.step.name} of {call.part}", "", *_metrics(outcome)]
    lines += ["", "### Lineage", "", "| | role | asset | version | made by run |", "|---|---|---|---|---|"]
    lines += [
        f"| read | {entry.role} | `{entry.asset}` | `{entry.version_id[:12]}` "
        f"| `{(entry.producer_run_id or 'outside')[:12]}` |"
        for entry in outcome.inputs
    ]
    lines += [
        f"| made | {role} | `{asset}` | `{version[:12]}` | `{outcome.run_id[:12]}` |"
        for role, (asset, version) in outcome.outputs.items()
    ]
    made = next(iter(outcome.outputs.values()), None)
    if made is not None:
        lines += ["", f"All that led here: `{halter('lineage', str(made[0]))}`"]
    return "\n".join(lines)


def _metrics(outcome: Outcome) -> Iterator[str]:
    known = outcome.estimates
    titles = ["metric", "value", *(["n", "95 %", "judged by"] if known else [])]
    yield from (f"| {' | '.join(titles)} |", "|" + "---|" * len(titles))
    for name, value in sorted(outcome.metrics.items()):
        cells = [name, figure(value), *(_beside(known.get(name)) if known else ())]
        yield f"| {' | '.join(cells)} |"


def _beside(of: Estimate | None) -> tuple[str, str, str]:
    """n with its mark, the interval and the judge of a figure."""
    if of is None:
        return "", "", ""
    bounds = "" if of.low is None or of.high is None else interval(of.low, of.high)
    return " ".join([figure(of.n), *marks(of.n, of.low)]), bounds, named(of.judge) if of.judge else ""
