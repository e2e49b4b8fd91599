"""Numbers as people read them, and that there is one place which writes them."""

import math
import re
from pathlib import Path

import pytest

from data_store.figures import figure, interval, marks, named, percent, rate, seconds, size

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (43620.0, "43,620"),  # it was 4.362e+04
        (12000.0, "12,000"),  # it was 1.2e+04
        (0.0, "0"),
        (-3.0, "-3"),
        (1.0, "1"),
        (312924.6658566221, "312,924.7"),
        (100.04, "100.0"),
        (99.96, "99.96"),
        (0.51934, "0.5193"),
        (0.00002, "2e-05"),
        (None, "–"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_count_is_a_whole_number_and_a_measure_has_the_digits_that_tell_something(
    value: float | None, text: str
) -> None:
    assert figure(value) == text


def test_rates_shares_durations_and_sizes() -> None:
    assert (rate(0.5), rate(None)) == ("0.50", "–")
    assert (percent(0.475), percent(0.475, 1), percent(None)) == ("48%", "47.5%", "–")
    assert [seconds(value) for value in (0.69, 9.94, 10.4, 1234.0, None)] == ["0.7 s", "9.9 s", "10 s", "1,234 s", "–"]
    assert [size(count) for count in (0, 999, 2_345_678, 5e15)] == ["0 B", "999 B", "2.3 MB", "5,000.0 TB"]


def test_an_interval_is_short_and_marks_say_what_to_know_of_a_figure() -> None:
    assert interval(0.567, 0.71, rate) == ".57–.71"
    assert interval(0.5, 20.04, rate) == ".50–20.04"
    assert interval(-0.5, 0.0, rate) == "-.50–.00"
    assert interval(10.5, 100.25, rate) == "10.50–100.25", "only a leading nought goes"
    assert [marks(30, 0.51, 0.5), marks(29, 0.51, 0.5), marks(30, 0.5, 0.5), marks(1, None, 0.5), marks(99, 0.1)] == [
        [],
        ["few"],
        ["chance"],
        ["few"],
        [],
    ]


def test_no_name_of_a_judge_is_markup_on_a_page() -> None:
    assert named("simulated:little-world") == "`simulated:little-world`"
    assert named("`<b>`\n| x |") == "`'<b>' / x /`"
    assert len(named("x" * 500)) == 82


def test_nothing_else_in_flows_and_tasks_says_how_a_number_is_written() -> None:
    form = re.compile(r"\{[^{}]*:[<>^]?\d*(,|,?\.\d+[efg%]|[eg%])\}")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("flows", "tasks")
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.name != "curves.py"  # places in a picture
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if form.search(line)
    ]
    assert found == []
