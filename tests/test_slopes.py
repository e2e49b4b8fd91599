"""`python -m benchmarks.slopes`: slopes by hand, and the page that tells them."""

import json
import math

import pytest

from benchmarks.slopes.__main__ import BEGIN, END, KEPT, PAGE, PICTURE, drawn_on, figures, slope
from benchmarks.slopes.picture import picture
from benchmarks.slopes.works import WORKS


@pytest.mark.parametrize(("exponent", "sizes"), [(1, (10, 20, 40)), (2, (3, 6)), (0.5, (4, 16))])
def test_the_slope_is_the_exponent_of_a_power_law(exponent: float, sizes: tuple[int, ...]) -> None:
    assert slope([[size, 0.1 * size**exponent, 1.0] for size in sizes]) == pytest.approx(exponent)


def test_sizes_that_take_next_to_no_time_tell_no_slope() -> None:
    assert slope([[10, 0.001, 1.0], [20, 0.5, 1.0]]) is None


def test_what_is_linear_is_drawn_on_without_its_fixed_cost_and_what_is_steeper_with_its_slope() -> None:
    fixed = [[size, 5 + 0.01 * size, 0.0] for size in (100, 200)]
    assert drawn_on(fixed, 10_000) == pytest.approx(5 + 100)
    square = [[size, size**2, 0.0] for size in (2, 4)]
    assert drawn_on(square, 100) == pytest.approx(10_000)
    assert drawn_on([[2, 7.0, 0.0], [4, 7.0, 0.0]], 100) == 7.0, "what does not grow"


def test_the_page_and_its_picture_are_those_of_the_last_measurement() -> None:
    kept = json.loads(KEPT.read_text())
    assert list(kept["stages"]) == list(WORKS), "each stage was measured"
    assert [[int(size) for size, *_ in points] for points in kept["stages"].values()] == [
        list(work.sizes) for work in WORKS.values()
    ]
    text = PAGE.read_text()
    assert text.partition(BEGIN)[2].partition(END)[0] == figures(kept)
    assert PICTURE.read_text() == picture({name: kept["stages"][name] for name in WORKS})


def test_nothing_that_was_measured_grows_faster_than_a_little_beyond_linear() -> None:
    kept = json.loads(KEPT.read_text())
    found = {name: slope(points) for name, points in kept["stages"].items()}
    assert all(each is None or each < 1.25 for each in found.values()), found
    assert all(math.isfinite(number) for points in kept["stages"].values() for point in points for number in point)
