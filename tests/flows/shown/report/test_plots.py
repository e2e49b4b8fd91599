"""What a plot draws lies where its axes say, and it can be read without colours."""

import math
import re
from xml.etree import ElementTree

import pytest

from data_store.catalog.whole import Measured
from flows.shown.report.plots import Series, plot

SVG = "{http://www.w3.org/2000/svg}"


def point(value: float, low: float | None = None, high: float | None = None, n: int | None = None) -> Measured:
    return Measured("r" * 32, "win_rate", value, n, low, high, "anna")


def drawn(*series: Series, places: tuple[str, ...] = ("V0", "V1"), **more: object) -> ElementTree.Element:
    return ElementTree.fromstring(plot("Wins", "share", places, series, **more))  # type: ignore[arg-type]


def of_kind(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if kind in each.get("class", "").split()]


def levels(root: ElementTree.Element) -> dict[str, float]:
    """Label → height of each line of the grid."""
    heights = [float(each.get("d", "").split()[1].split("H")[0]) for each in of_kind(root, "grid")]
    labels = [each.text or "" for each in of_kind(root, "end")]
    return dict(zip(labels, heights, strict=True))


def test_a_point_and_the_ends_of_its_interval_lie_at_the_height_of_their_numbers() -> None:
    root = drawn(Series("help", [point(0.5, 0.0, 1.0), point(1.0)]), within=(0, 1))
    grid = levels(root)
    (interval,) = of_kind(root, "interval")
    _, low, high = map(float, re.match(r"M([\d.]+) ([\d.]+)V([\d.]+)", interval.get("d", "")).groups())  # type: ignore[union-attr]
    assert (low, high) == (grid["0"], grid["1"])
    half, one = (
        float(each.get("d", "").split()[1].split("a")[0])
        for each in of_kind(root, "point")
        if "data-value" in each.attrib
    )
    assert half == pytest.approx((grid["0"] + grid["1"]) / 2, abs=0.1)
    assert one == grid["1"]


def test_what_has_no_interval_has_none_drawn_and_what_was_not_measured_is_a_gap() -> None:
    root = drawn(Series("help", [None, point(0.25)]), Series("safe", [point(math.nan), point(0.5)]))
    assert of_kind(root, "interval") == []
    assert [each.get("data-value") for each in root.iter() if each.get("data-value")] == ["0.25", "0.5"]
    assert plot("Wins", "share", ["V0"], [Series("help", [point(math.inf)])]) == ""


def test_series_are_told_apart_by_shape_and_by_words_not_by_colour_alone() -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    root = drawn(*(Series(name, [point(0.5), point(0.6)]) for name in names))
    legend = [each for each in of_kind(root, "point") if "data-value" not in each.attrib]
    assert (
        len({re.sub(r"[-\d.]+", "#", each.get("d", "")) + str(each.get("d", "").count("l-")) for each in legend}) >= 5
    )
    assert [each.text for each in of_kind(root, "start")] == names
    said = root.get("aria-label") or ""
    assert said.startswith("Wins: a V0 0.5, V1 0.6; b V0 0.5")
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles[0] == "a: 0.5"
    (told,) = drawn(Series("help", [point(0.5, 0.4, 0.6, 96)]), places=("V0",)).iter(f"{SVG}title")
    assert told.text == "help: 0.5, 0.4 to 0.6, n 96"


def test_labels_of_many_iterations_are_thinned_and_of_two_words_stand_in_two_rows() -> None:
    places = tuple(f"V{n}" for n in range(40))
    root = drawn(Series("help", [point(0.5)] * 40), places=places)
    assert 5 <= len(of_kind(root, "middle")) <= 9
    root = drawn(Series("help", [point(0.5)]), places=("V5 before PPO",))
    assert [each.text for each in of_kind(root, "middle")] == ["V5", "before PPO"]


def test_places_with_numbers_stand_where_these_are_and_the_axis_counts_them() -> None:
    series = (Series("reward", [point(0.1), point(0.2), point(0.3)]), Series("gold", [point(0.3)] * 3))
    root = drawn(*series, places=("a", "b", "c"), across=(0.0, 1.0, 4.0))
    x = [
        float(re.match(r"M([\d.]+)", each.get("d", ""))[1])  # type: ignore[index]
        for each in of_kind(root, "point")
        if each.get("data-value") and "s0" in each.get("class", "")
    ]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(0.25, abs=0.01)
    labels = {each.text or "": float(each.get("x", "")) for each in of_kind(root, "middle")}
    assert {"0", "4"} <= set(labels)
    assert labels["4"] - labels["0"] == pytest.approx(x[2] - x[0], abs=0.2)
    assert "a" not in labels
    assert "reward a 0.1, b 0.2, c 0.3" in (root.get("aria-label") or "")


def test_names_that_are_markup_stay_text() -> None:
    root = drawn(Series("<b>&amp;", [point(0.5), None]), Series("\x1b", [point(0.1), None]), places=("<i>", "V1"))
    assert "<b>&amp;" in [each.text for each in of_kind(root, "start")]
    assert {each.tag for each in root.iter()} == {f"{SVG}{tag}" for tag in ("svg", "path", "text", "title")}
