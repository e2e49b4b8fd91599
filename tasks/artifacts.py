"""Tables, plots and links of a step for the Prefect UI. What models wrote goes into tables, which the UI shows as plain
text."""

import base64
import io
from collections.abc import Sequence

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from data_store.records import Metric
from data_store.store import Store
from tasks.execute import Outcome
from tasks.step import StepCall


def publish_artifacts(store: Store, call: StepCall, outcome: Outcome) -> None:
    """A report with metrics and lineage, the step's own tables, and its curves."""
    key = f"{call.step.name}-{call.part}".replace("_", "-").lower()
    create_markdown_artifact(
        key=f"report-{key}", markdown=report(call, outcome), description=f"{call.step.name} of {call.part}"
    )
    for name, rows in outcome.tables.items():
        if rows:
            create_table_artifact(
                key=f"{name}-{key}", table=rows, description=f"{name}: {call.step.name} of {call.part}"
            )
    curves = [metric for metric in store.metrics(outcome.run_id) if metric.step > 0]
    if curves:
        create_image_artifact(
            key=f"curves-{key}", image_url=plot(curves), description=f"Curves of {call.step.name}, {call.part}"
        )


def report(call: StepCall, outcome: Outcome) -> str:
    """Markdown: what the step measured, what it read, what it made."""
    lines = [f"## {call.step.name} of {call.part}", "", "| metric | value |", "|---|---|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in sorted(outcome.metrics.items())]
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
        lines += ["", f"All that led here: `halter lineage {made[0]}`"]
    return "\n".join(lines)


def plot(curves: Sequence[Metric]) -> str:
    """The curves, one small axis per metric, as an SVG in a data URL."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = sorted({metric.name for metric in curves})
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    width, height = 4.2 * columns, 2.6 * rows
    figure = Figure(figsize=(width, height))  # margins in inches; a layout engine takes as long as the drawing itself
    figure.subplots_adjust(
        left=0.55 / width, right=1 - 0.1 / width, bottom=0.25 / height, top=1 - 0.3 / height, hspace=0.3, wspace=0.2
    )
    FigureCanvasSVG(figure)
    for place, name in enumerate(names):
        axis = figure.add_subplot(rows, columns, place + 1)
        points = sorted((metric.step, metric.value) for metric in curves if metric.name == name)
        axis.plot([step for step, _ in points], [value for _, value in points], linewidth=1.3, color="#2b6cb0")
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(image.getvalue()).decode()
