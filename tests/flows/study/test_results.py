"""The table of a study: intervals by hand, and nothing that was not measured."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from data_store.estimate import Estimate
from data_store.figures import interval
from flows.shown.summary import COLUMNS
from flows.study.picture import picture
from flows.study.results import T_95, Row, RunResult, interval_in_words, over_seeds, saved_in_words, tables


def result(
    seed: int, metrics: Mapping[str, float], computed: int = 5, shared: int = 19, v0: int | None = None
) -> RunResult:
    judge = "simulated, world 1" if metrics else ""
    known = {name: Estimate(value, 80, value - 0.1, value + 0.1, "somebody") for name, value in metrics.items()}
    return RunResult(
        f"run-{seed}",
        seed,
        seed if v0 is None else v0,
        metrics,
        known,
        judge,
        computed,
        2.0 * computed,
        shared,
        3.0 * shared,
        0,
    )


@pytest.mark.conformance(
    "an interval that is not one of the mean over seeds", equation="flows.study.results:over_seeds"
)
def test_the_interval_is_students_t_by_hand() -> None:
    """1, 2, 3: mean 2, s = 1, so 4.303 / √3 = 2.4843 to each side. Two values: 12.706 · (√2 / 2 · 2) / √2 = 12.706."""
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.303 / math.sqrt(3))
    assert found.low == pytest.approx(2 - 2.4843, abs=1e-4)
    two = over_seeds([0.0, 2.0])
    assert (two.low, two.high) == (pytest.approx(1 - 12.706), pytest.approx(1 + 12.706))


def test_equal_seeds_have_an_interval_of_no_width_and_one_value_has_none() -> None:
    assert over_seeds([0.5, 0.5, 0.5]).low == over_seeds([0.5, 0.5, 0.5]).high == 0.5
    for values in ([], [0.5], [0.0] * 31):
        with pytest.raises(ValueError, match="2 to 30"):
            over_seeds(values)


@pytest.mark.conformance(
    "an interval that is not one of the mean over seeds", equation="flows.study.results:over_seeds"
)
def test_the_points_of_t_have_their_probability() -> None:
    """Each point against the density of t itself, summed by Simpson's rule: .025 lie beyond it."""

    def beyond(point: float, freedom: int, steps: int = 4000) -> float:
        scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
        width = point / steps
        at = [scale * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
        return 0.5 - width / 3 * (at[0] + at[-1] + 4 * sum(at[1:-1:2]) + 2 * sum(at[2:-1:2]))

    for freedom, point in enumerate(T_95, start=1):
        assert beyond(point, freedom) == pytest.approx(0.025, abs=3e-5), freedom


def test_figures_of_judges_of_evaluations_have_columns_with_their_names_and_panels_of_their_own() -> None:
    figures = {"violation": 0.2, "violation@own": 0.3, "win_rate/safety@big": 0.75}
    row = Row("large", (result(1, figures),))
    (first,), _, _ = tables([row])
    assert {"violation %", "violation %@own", "win safe@big"} <= set(first)
    assert first["violation %@own"] == "30.0 20.0–40.0 (80)"
    drawn = picture("study", [row])
    assert drawn is not None
    assert "win safe@big" in drawn


def test_a_row_is_made_of_the_runs_that_have_ended_and_says_how_many() -> None:
    row = Row("large", (result(1, {"win_rate": 0.5}), result(2, {"win_rate": 0.7}), result(3, {})))
    first, _, costs = tables([row])
    assert first[0]["seeds"] == "2 of 3"
    of = row.estimate("win_rate")
    assert of is not None
    assert (of.value, of.n) == (pytest.approx(0.6), 2)
    assert row.values("win_rate") == [0.5, 0.7]
    assert row.estimate("kl") is None
    assert costs[0] == {
        "variant": "large",
        "steps computed": 15,
        "took": "30 s",
        "steps shared": 57,
        "these took": "171 s",
        "steps to do": 0,
    }


def test_what_was_saved_is_what_the_shared_steps_took() -> None:
    rows = [Row("a", (result(1, {}, 24, 0),)), Row("b", (result(1, {}, 5, 19),))]
    assert saved_in_words(rows) == (
        "computed for this study: 29 of 48 steps in 58 s; each variant by itself would have taken 115 s"
    )
    assert saved_in_words([Row("a", (result(1, {}, 0, 0),))]) == "nothing is computed yet"


def test_it_is_said_what_the_interval_is_of_and_who_judged() -> None:
    one, two = (result(1, {"oracle_score": 0.5}),), (result(1, {"oracle_score": 0.2}), result(2, {"oracle_score": 0.4}))
    alone, over = interval_in_words([Row("a", one)]), interval_in_words([Row("a", two)])
    assert alone == (
        "of one seed alone the 95 % interval is over the (n) prompts or pairs of its evaluation: what another seed "
        "would change is not known; judge: simulated, world 1"
    )
    assert over == "mean over 2 seeds with the 95 % interval of the mean by Student's t; judge: simulated, world 1"
    assert interval_in_words([Row("a", one), Row("b", two)]).startswith("mean over 2 seeds with")
    same = Row("a", tuple(result(seed, {"oracle_score": 0.2}, v0=1) for seed in (1, 2)))
    assert interval_in_words([same]).startswith("mean over 2 seeds from V1 on, those of a variant with one V0, with")
    assert "of one seed alone" in interval_in_words([Row("a", one), Row("b", two)])


def test_of_one_seed_a_figure_is_as_well_known_as_its_evaluation_knows_it() -> None:
    """.3 of 80 prompts, .2 to .4; of two seeds .2 and .4 it is .3 and 12.706 · .1 to each side."""
    (title,) = [name for name, of in COLUMNS.items() if of.name == "oracle_score"]
    one, two = (result(1, {"oracle_score": 0.3}),), (result(1, {"oracle_score": 0.2}), result(2, {"oracle_score": 0.4}))
    cells = [row[title] for table in tables([Row("a", one), Row("b", two)])[:2] for row in table if title in row]
    form = COLUMNS[title].form
    assert cells == [
        f"{form(0.3)} {interval(0.2, 0.4, form)} (80)",
        f"{form(0.3)} {interval(0.3 - 1.2706, 0.3 + 1.2706, form)}",
    ]


def test_the_picture_has_a_dot_at_each_mean_a_bar_as_long_as_the_interval_and_harmless_labels() -> None:
    label = "<script>alert(1)</script> & more"
    title = next(name for name, of in COLUMNS.items() if of.first)
    metric = COLUMNS[title].name
    rows = [Row(label, (result(1, {metric: 0.2}), result(2, {metric: 0.4}))), Row("none", (result(1, {}),))]
    svg = picture("mine", rows)
    assert svg is not None
    root = ET.fromstring(svg)
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert label in texts
    assert "not measured" in texts
    dots = [each for each in root.iter("{http://www.w3.org/2000/svg}circle") if each.get("r") == "4.5"]
    assert len(dots) == 1
    (bar,) = [e.get("d") or "" for e in root.iter("{http://www.w3.org/2000/svg}path") if e.get("stroke-width") == "2"]
    left, right = float(bar.split("M")[1].split(" ")[0]), float(bar.split("H")[1])
    assert float(dots[0].get("cx") or 0) == pytest.approx((left + right) / 2, abs=0.1)
    assert picture("mine", [Row("none", (result(1, {}),))]) is None
