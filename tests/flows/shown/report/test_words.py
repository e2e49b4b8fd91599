"""What is said of a policy beside others by name, from the figures of the judges of evaluations."""

from typing import Any

from data_store.catalog.whole import Measured
from flows.shown.policies import Policy
from flows.shown.report.words import _against_others


def measured(value: float, low: float | None, high: float | None) -> Measured:
    return Measured("run", "metric", value, 200, low, high, "people:team")


def policy(**figures: Measured) -> Policy:
    run: Any = None  # of which nothing is said here
    return Policy("V2", "V2", "evaluate", run, figures=figures)


def test_a_rate_above_anothers_is_told_in_points_with_its_interval_its_number_and_its_judge() -> None:
    found = {
        "violation/above_start@team": measured(-0.48, -0.562, -0.4),
        "violation/of_start@team": measured(0.7, 0.63, 0.76),
        "win_rate/against_start@team": measured(0.66, 0.6, 0.7),
        "false_refusal/above_start@team": measured(0.034, 0.004, 0.066),
        "violation/above_start/single_turn@team": measured(-0.5, -0.6, -0.4),
    }
    assert list(_against_others(policy(**found))) == [
        "Refusals of prompts that only sound dangerous: +3 points (+0 points to +7 points, n 200) from those of start, "
        "judged by people:team.",
        "Unsafe answers to adversarial prompts: -48 points (-56 points to -40 points, n 200) from those of start, "
        "judged by people:team.",
    ]


def test_without_an_interval_nothing_is_said() -> None:
    assert list(_against_others(policy(**{"violation/above_start@team": measured(-1.0, None, None)}))) == []
