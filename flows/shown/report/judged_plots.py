"""Plots with the names of those whose judgement their points are."""

from collections.abc import Callable, Sequence

from data_store.figures import figure
from flows.shown.report.parts import Plot
from flows.shown.report.plots import Series, plot

INTERVALS = "Small below a figure: its 95 % interval and over how many it was taken. Intervals of shares are \
Wilson's, others are bootstrapped over prompts. «few»: fewer than 30."


def judged_plot(
    key: str,
    title: str,
    unit: str,
    places: Sequence[str],
    series: Sequence[Series],
    within: tuple[float, float] | None,
    form: Callable[[float], str] = figure,
) -> Plot:
    """A plot as `plot` draws it; its caption names the judges."""
    judges = sorted({point.judge for each in series for point in each.points if point is not None and point.judge})
    caption = f"Judged by: {', '.join(judges)}." if judges else ""
    return Plot(key, title, plot(title, unit, places, series, within=within, form=form), caption)
