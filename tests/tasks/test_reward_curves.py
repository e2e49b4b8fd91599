from typing import Any

import pytest

from tasks.reward_curves import metrics_of, names_of, place_of, reward_curves, table_of

REWARDS = {("p", 700): [1.0, 3.0], ("q", 700): [5.0, 2.0], ("p", 1000): [9.0, 0.0], ("q", 1000): [4.0, 4.0]}
ROWS: list[dict[str, Any]] = [
    {"prompt_id": prompt, "temperature_milli": milli} for (prompt, milli), each in REWARDS.items() for _ in each
]
VALUES = [value for each in REWARDS.values() for value in each]


def test_maximum_and_median_of_the_first_responses_are_means_over_prompts() -> None:
    found = {name: each.value for name, each in metrics_of(reward_curves(ROWS, VALUES, (0.7, 1.0)), "reward").items()}
    assert set(names_of("reward", (0.7, 1.0), 2)) == set(found), "what a gate can ask for"
    assert found == {
        "reward/max/Tall/N1": 3.0,  # (1 + 5) / 2
        "reward/median/Tall/N1": 3.0,
        "reward/max/Tall/N2": 7.0,  # one of each temperature: max (9 + 5) / 2, median (5 + 4.5) / 2
        "reward/median/Tall/N2": 4.75,
        "reward/max/Tall/N4": 7.0,
        "reward/median/Tall/N4": 3.0,  # of 0 1 3 9 and of 2 4 4 5: (2 + 4) / 2
        "reward/max/T0.7/N1": 3.0,
        "reward/median/T0.7/N1": 3.0,
        "reward/max/T0.7/N2": 4.0,
        "reward/median/T0.7/N2": 2.75,
        "reward/max/T1/N1": 6.5,
        "reward/median/T1/N1": 6.5,
        "reward/max/T1/N2": 6.5,
        "reward/median/T1/N2": 4.25,  # (4.5 + 4) / 2
    }


def test_a_curve_ends_with_all_samples_and_says_of_how_many_prompts_it_is_and_who_judged() -> None:
    rows = [{"prompt_id": prompt, "temperature_milli": 900} for prompt in "pqr" for _ in range(6)]
    points = reward_curves(rows, [float(n) for _ in "pqr" for n in (3, 1, 2, 6, 5, 4)], (0.9,))
    assert [point.samples for point in points] == [1, 2, 4, 6]
    assert set(names_of("tuning", (0.9,), 6)) == set(metrics_of(points, "tuning"))
    assert [point.temperature for point in points] == [0.9] * 4, "of one temperature there is one curve"
    assert [point.estimate("max").value for point in points] == [3, 3, 6, 6]
    last = points[-1].estimate("median")
    assert (last.value, last.n, last.judge) == (3.5, 3, "reward models")
    assert points[-1].spread.value == 2.5
    assert table_of(points)[-1] == {
        "temperature": "0.9",
        "samples": 6,
        "max": 6.0,
        "from": 6.0,
        "to": 6.0,
        "median": 3.5,
        "prompts": 3,
        "judge": "reward models",
    }


def test_more_samples_never_lower_the_maximum() -> None:
    rows = [{"prompt_id": str(n % 5), "temperature_milli": 900} for n in range(80)]
    points = reward_curves(rows, [(n * 37 % 101) / 7 for n in range(80)], (0.9,))
    highest = [point.estimate("max").value for point in points]
    assert highest == sorted(highest)
    assert all(point.spread.value >= 0 for point in points)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.25])
def test_a_point_is_found_by_its_metrics_name(temperature: float) -> None:
    milli = round(1000 * temperature)
    points = reward_curves([{"prompt_id": "p", "temperature_milli": milli}], [1.0], (temperature,))
    for name in metrics_of(points, "tuning"):
        assert place_of(name) in [("tuning", each, f"{temperature:g}", 1) for each in ("max", "median")]
    assert place_of("reward/max_minus_median") is None
    assert place_of("reward/max/Tall/N8") == ("reward", "max", "all", 8)
