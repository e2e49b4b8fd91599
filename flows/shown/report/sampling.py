"""What rejection sampling had to choose from: max and median reward against the number of samples and the temperature
(Llama 2, figures 7 and 8), and the temperature that each iteration found best."""

from collections.abc import Iterator, Mapping, Sequence

from data_store.catalog.whole import Measured
from data_store.figures import figure
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import COLOURS, Series, plot
from tasks.rejection_sample import rejection_sample
from tasks.reward_curves import place_of

_PREFIXES = {"reward": "candidates", "tuning": "validation prompts"}
_UNIT = "mean combined reward"
Curves = Mapping[tuple[str, str, int], Measured]
"""(statistic, temperature, N) → its figure."""


def sampling(facts: Facts) -> Section | None:
    """None where nothing was sampled, or before these curves were kept."""
    found: dict[str, dict[str, Curves]] = {}
    tuned: dict[str, Mapping[str, Measured]] = {}
    for (part, step), maker in facts.maker_of.items():
        if step != rejection_sample.name:
            continue
        figures = facts.whole.measured.get(maker.run.run_id, {})
        if curves := {prefix: each for prefix in _PREFIXES if (each := _curves(figures, prefix))}:
            found[part] = curves
        if "temperature" in figures:
            tuned[part] = figures
    if not found:
        return None
    last = list(found)[-1]
    plots = [each for each in _plots(last, found[last]) if each.picture]
    tables = [*_chosen(tuned, found), _table(found)]
    texts = [
        "The highest and the middle reward of N answers to a prompt, mean over prompts, by the reward models that "
        "choose: what more samples, or a higher temperature, would still find. Rewards of two iterations are "
        "those of two pairs of reward models, and do not compare."
    ]
    return Section("sampling", "Rejection sampling", texts, plots, tables)


def _curves(figures: Mapping[str, Measured], prefix: str) -> Curves:
    places = {name: place_of(name) for name in figures}
    return {place[1:]: figures[name] for name, place in places.items() if place is not None and place[0] == prefix}


def _plots(part: str, curves: Mapping[str, Curves]) -> Iterator[Plot]:
    for prefix, of in curves.items():
        what = _PREFIXES[prefix]
        numbers = sorted({n for _, _, n in of})
        temperatures = _temperatures(of)
        for statistic, said in (("max", "Highest"), ("median", "Middle")):
            series = [
                Series(f"T {temperature}", [of.get((statistic, temperature, n)) for n in numbers])
                for temperature in temperatures[:COLOURS]
            ]
            title = f"{said} reward of N answers, {part}, {what}"
            places = [f"N {n}" for n in numbers]
            yield _plot(f"{prefix}-{statistic}-against-samples", title, places, series)
        single = [each for each in temperatures if each != "all"]
        if len(single) > 1:
            series = [Series(f"N {n}", [of.get(("max", t, n)) for t in single]) for n in numbers[-COLOURS:]]
            title = f"Highest reward of N answers by temperature, {part}, {what}"
            yield _plot(f"{prefix}-against-temperature", title, [f"T {t}" for t in single], series)


def _plot(key: str, title: str, places: Sequence[str], series: Sequence[Series]) -> Plot:
    judges = sorted({str(point.judge) for each in series for point in each.points if point is not None})
    return Plot(key, title, plot(title, _UNIT, places, series), f"Judged by: {', '.join(judges)}.")


def _chosen(tuned: Mapping[str, Mapping[str, Measured]], found: Mapping[str, Mapping[str, Curves]]) -> Iterator[Table]:
    """The temperature of each iteration that looked for one."""
    rows: list[list[Cell]] = []
    for part, figures in tuned.items():
        curves = found.get(part, {}).get("tuning", {})
        most = max((n for _, _, n in curves), default=0)
        temperature = f"{figures['temperature'].value:g}"
        best = curves.get(("max", temperature, most))
        cells = [measured(figures["temperature"]), text(figure(most)), measured(best)]
        rows.append([text(part), *cells, measured(figures.get("temperature/lead"))])
    if rows:
        notes = [
            "On prompts of the split validation. The lead is over the runner-up, prompt by prompt: where its interval "
            "holds 0, another temperature could have been taken as well."
        ]
        columns = ["iteration", "temperature", "N", "highest reward of N", "lead over the next"]
        yield Table("temperatures", "The temperature that each iteration took", columns, rows, notes)


def _table(found: Mapping[str, Mapping[str, Curves]]) -> Table:
    rows: list[list[Cell]] = []
    for part, curves in found.items():
        for prefix, of in curves.items():
            for temperature in _temperatures(of):
                for n in sorted({n for _, t, n in of if t == temperature}):
                    cells = [measured(of.get((statistic, temperature, n))) for statistic in ("max", "median")]
                    rows.append([text(part), text(_PREFIXES[prefix]), text(temperature), text(figure(n)), *cells])
    columns = ["iteration", "of", "temperature", "N", "highest", "middle"]
    caption = "Reward against the number of samples and the temperature"
    return Table("reward-against-samples", caption, columns, rows, folded=True)


def _temperatures(of: Curves) -> list[str]:
    """Those of a curve, that of all of them first."""
    return sorted({temperature for _, temperature, _ in of}, key=lambda t: -1.0 if t == "all" else float(t))
