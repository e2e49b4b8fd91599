"""Tables, plots and links of a step for the Prefect UI. What models wrote goes into tables, which the UI shows as plain
text."""

import base64
import io
from collections.abc import Sequence

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from data_store.commands import halter
from data_store.records import Metric
from tasks.execute import Outcome
from tasks.step import StepCall


def publish_artifacts(call: StepCall, outcome: Outcome) -> None:
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
    if outcome.curves:
        create_image_artifact(
            key=f"curves-{key}", image_url=plot(outcome.curves), description=f"Curves of {call.step.name}, {call.part}"
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
        lines += ["", f"All that led here: `{halter('lineage', str(made[0]))}`"]
    return "\n".join(lines)


def plot(curves: Sequence[Metric]) -> str:
    """The curves, one small frame per metric with its least and greatest value and step, as an SVG in a data URL.

    Lines on a bare figure: matplotlib's axes, with their ticks and grids, take ten times as long.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    names = sorted({metric.name for metric in curves})
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    wide, high = 4.2, 1.9  # inches of one panel, titles and numbers included
    figure = Figure(figsize=(wide * columns, high * rows))
    FigureCanvasSVG(figure)
    inch_x, inch_y = 1 / (wide * columns), 1 / (high * rows)
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        left, bottom = (wide * column + 0.7) * inch_x, (high * (rows - 1 - row) + 0.3) * inch_y
        width, height = (wide - 0.85) * inch_x, (high - 0.65) * inch_y
        points = sorted((metric.step, metric.value) for metric in curves if metric.name == name)
        steps, values = [step for step, _ in points], [value for _, value in points]
        least, most = min(values), max(values)
        across, up = (steps[-1] - steps[0]) or 1, (most - least) or 1.0
        x = [left + width * (step - steps[0]) / across for step in steps]
        y = [bottom + height * (0.08 + 0.84 * (value - least) / up) for value in values]
        places = dict(zip(values, y, strict=True))
        figure.add_artist(Rectangle((left, bottom), width, height, fill=False, edgecolor="#cbd5e0", linewidth=0.8))
        figure.add_artist(
            Line2D(x, y, linewidth=1.3, color="#2b6cb0", marker="o" if len(points) == 1 else None, markersize=3)
        )
        figure.text(left, bottom + height + 0.07 * inch_y, name, fontsize=9)
        for value in sorted({least, most}):
            figure.text(left - 0.06 * inch_x, places[value], f"{value:.3g}", fontsize=7, ha="right", va="center")
        for step, side in {steps[0]: "left", steps[-1]: "right"}.items():
            at = left if side == "left" else left + width
            figure.text(at, bottom - 0.06 * inch_y, f"{step}", fontsize=7, ha=side, va="top")
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(image.getvalue()).decode()
