"""What the reward models of each iteration know, as tables and plots (Llama 2, tables 7 and 8, figures 6 and 29)."""

from collections.abc import Iterator, Mapping, Sequence

from data_store.catalog.whole import Measured
from data_store.figures import figure, rate
from data_store.rows import AXES, RATINGS
from flows.shown.report.facts import Facts
from flows.shown.report.judged_plots import INTERVALS, judged_plot
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import Series
from tasks.evaluations.evaluation import Measure
from tasks.train_reward import CHANCE

Figures = Mapping[str, Measured]
_ACCURACY = Measure("", "", form=rate, chance=CHANCE)
_ERROR = Measure("", "", form=rate)
_SHORT = [rating.replace("_better", "").replace("_", " ") for rating in RATINGS]


def reward_models(facts: Facts) -> Section:
    """How often a reward model agrees with those who judged, and whether it is as sure as it is right."""
    found = {
        part: facts.whole.measured.get(run.run.run_id, {})
        for (part, step), run in facts.maker_of.items()
        if step == "measure_reward_models"
    }
    sets = [*AXES, *sorted({_set_of(name) for each in found.values() for name in each if _is_of_set(name)} - {*AXES})]
    sets = [
        name for name in sets if any(f"accuracy/{axis}/{name}/all" in each for each in found.values() for axis in AXES)
    ]
    if not sets:
        return Section("reward-models", "Reward models", ["No accuracy of a reward model is known."])
    texts = [
        f"Each reward model is put to the held-out pairs of both axes, which it did not learn from, and to the test "
        f"sets of reward_tests.sets, whose texts nothing learns from. {INTERVALS}"
    ]
    tables = [_by_set(found, sets), _by_rating(found, sets), *_by_batch(found), *_calibration(found, sets)]
    plots = [plot for plot in _plots(found, sets) if plot.picture]
    return Section("reward-models", "Reward models", texts, plots, tables)


def _is_of_set(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "accuracy" and parts[-1] == "all" and len(parts) == 4


def _set_of(name: str) -> str:
    return name.split("/")[2]


def _by_set(found: Mapping[str, Figures], sets: Sequence[str]) -> Table:
    """Table 7."""
    rows = [
        [
            text(part),
            text(model),
            *(measured(figures.get(f"accuracy/{model}/{name}/all"), _ACCURACY) for name in sets),
        ]
        for part, figures in found.items()
        for model in AXES
    ]
    notes = [
        "Share of pairs of which the chosen answer scores higher, ties half; chosen by those who judged them. .5 is "
        "chance: an accuracy whose interval reaches it is not shown to be better than that. helpfulness and safety are "
        "the run's own held-out pairs, of all batches so far. As the paper's table 7."
    ]
    return Table("test-sets", "Reward-model accuracy by test set", ["iteration", "reward model", *sets], rows, notes)


def _by_rating(found: Mapping[str, Figures], sets: Sequence[str]) -> Table:
    """Table 8."""
    rows = []
    for part, figures in found.items():
        for model in AXES:
            for name in sets:
                cells = [figures.get(f"accuracy/{model}/{name}/{rating}") for rating in (*RATINGS, "all")]
                if any(cells):
                    rows.append([text(part), text(model), text(name), *(measured(each, _ACCURACY) for each in cells)])
    columns = ["iteration", "reward model", "test set", *(rating.replace("_", " ") for rating in RATINGS), "all"]
    notes = [
        "As the paper's table 8. Llama 2 reports of its own pairs 94.3 / 76.3 / 65.7 / 55.3 % by rating (safety) and "
        "80.7 / 67.5 / 60.9 / 54.7 % (helpfulness)."
    ]
    caption = "Reward-model accuracy by how much better the chosen answer was rated"
    return Table("accuracy", caption, columns, rows, notes)


def _by_batch(found: Mapping[str, Figures]) -> Iterator[Table]:
    """Figure 6, batch by batch."""
    batches = [part for part in found if any(f"accuracy/{axis}/batch/{part}" in found[part] for axis in AXES)]
    if len(batches) < 2:
        return
    rows = [
        [
            text(part),
            text(model),
            *(measured(figures.get(f"accuracy/{model}/batch/{batch}"), _ACCURACY) for batch in batches),
        ]
        for part, figures in found.items()
        for model in AXES
    ]
    notes = ["Each model on the held-out pairs of its axis from each batch that was collected by then."]
    columns = ["iteration", "reward model", *(f"pairs of {batch}" for batch in batches)]
    yield Table("by-batch", "Reward-model accuracy by batch of collection", columns, rows, notes)


def _calibration(found: Mapping[str, Figures], sets: Sequence[str]) -> Iterator[Table]:
    """How sure, and how right: the error by iteration and set, and the bins of the last iteration."""
    rows = []
    for part, figures in found.items():
        for model in AXES:
            for name in sets:
                of = f"{model}/{name}"
                cells = [
                    measured(figures.get(f"ece/{of}"), _ERROR),
                    *(measured(figures.get(f"difference/{of}/{rating}")) for rating in RATINGS),
                ]
                if f"ece/{of}" in figures:
                    rows.append([text(part), text(model), text(name), *cells])
    columns = ["iteration", "reward model", "test set", "calibration error", *(f"{each}: score" for each in _SHORT)]
    notes = [
        "Expected calibration error: how far the probability that the model gives its preferred answer, "
        "sigmoid(difference of the scores), is on the whole from the share of pairs in which people prefer it, too. "
        "Where the interval goes down to 0, a model as sure as it is right would show as much by chance. A model that "
        "was trained with margins is meant to be surer than it is right.",
        "score: mean of the chosen answer's raw score less the rejected one's, by rating; it should fall from left to "
        "right.",
    ]
    yield Table("calibration", "Calibration, and difference of the scores by rating", columns, rows, notes)
    part, figures = list(found.items())[-1]
    bins = [
        [text(model), text(name), *_bin(figures, f"calibration/{model}/{name}/bin_{place}")]
        for model in AXES
        for name in sets
        for place in _places(figures, model, name)
    ]
    if bins:
        columns = ["reward model", "test set", "predicted", "observed"]
        yield Table("bins", f"Predicted and observed, bin by bin, {part}", columns, bins, folded=True)


def _bin(figures: Figures, name: str) -> Sequence[Cell]:
    return measured(figures.get(f"{name}/predicted"), _ERROR), measured(figures.get(name), _ERROR)


def _places(figures: Figures, model: str, name: str) -> list[int]:
    """The numbers of the bins that hold something."""
    start = f"calibration/{model}/{name}/bin_"
    return sorted(int(each.removeprefix(start)) for each in figures if each.startswith(start) and "/pre" not in each)


def _plots(found: Mapping[str, Figures], sets: Sequence[str]) -> Iterator[Plot]:
    parts = list(found)
    part, newest = parts[-1], found[parts[-1]]
    for model in AXES:
        over = [Series(name, [found[each].get(f"accuracy/{model}/{name}/all") for each in parts]) for name in sets]
        title = f"Accuracy of the {model} model over iterations, by test set"
        yield judged_plot(f"accuracy-over-iterations-{model}", title, "share of pairs", parts, over, (0.5, 1))
    own = [Series(axis, [newest.get(f"accuracy/{axis}/{axis}/{rating}") for rating in RATINGS]) for axis in AXES]
    title = f"Accuracy on the model's own axis by rating, {part}"
    yield judged_plot("accuracy-by-rating", title, "share of pairs", _SHORT, own, (0.5, 1))
    scores = [Series(axis, [newest.get(f"difference/{axis}/{axis}/{rating}") for rating in RATINGS]) for axis in AXES]
    title = f"Chosen less rejected score by rating, {part}"
    yield judged_plot("difference-by-rating", title, "raw score", _SHORT, scores, (0, 0))
    for model in AXES:
        places = _places(newest, model, model)
        names = [f"calibration/{model}/{model}/bin_{place}" for place in places]
        predicted = [newest.get(f"{name}/predicted") for name in names]
        series = [Series("observed", [newest.get(name) for name in names]), Series("predicted", predicted)]
        title = f"Calibration of the {model} model on its own axis, {part}"
        said = [figure(each.value, 2) if each is not None else "" for each in predicted]
        yield judged_plot(f"calibration-{model}", title, "share of pairs", said, series, (0.5, 1), rate)
