"""The pace of a training, by clocks that are set by hand."""

from datetime import datetime

import pytest

from models.config import PretrainConfig
from models.training.pulse import Pace, Pulse, time_of_day
from tests.models.training.little_runs import Recorder


@pytest.mark.conformance(
    "a speed that holds the warm-up, and a share of a machine that nobody measured",
    equation="models.training.pulse:Pace",
)
def test_neither_the_first_tenth_nor_the_writing_of_checkpoints_counts_in_the_speed() -> None:
    """20 steps, two of which warm up: 9 s and 5 s; then 1 s each, with a checkpoint of 7 s after the fourth."""
    pace = Pace(0, 20, now=100.0)
    pace.stepped(109.0)
    pace.stepped(114.0)
    assert pace.seconds_per_step is None
    pace.stepped(115.0)
    pace.stepped(116.0)
    pace.saved(123.0)
    pace.stepped(125.0)
    assert pace.seconds_per_step == pytest.approx((1 + 1 + 2) / 3)
    assert pace.seconds_left(125.0) == pytest.approx(25.0 / 5 * 15), "what is left has checkpoints, too"


def test_a_resumed_training_times_the_steps_that_it_does_itself() -> None:
    pace = Pace(15, 20, now=0.0)
    for now in (50.0, 52.0, 54.0):
        pace.stepped(now)
    assert pace.seconds_per_step == 2.0
    assert pace.seconds_left(54.0) == pytest.approx(54.0 / 3 * 2)


@pytest.mark.parametrize(("todo", "warming"), [(1, 1), (2, 1), (19, 1), (20, 2), (100, 10), (500_000, 10)])
def test_at_most_ten_steps_warm_up_and_at_least_one(todo: int, warming: int) -> None:
    pace = Pace(0, todo, now=0.0)
    for now in range(1, warming + 1):
        pace.stepped(float(now))
        assert pace.seconds_per_step is None
    pace.stepped(warming + 0.5)
    assert pace.seconds_per_step == 0.5


def test_the_end_is_a_time_of_day_and_on_another_day_says_which() -> None:
    now = datetime(2026, 11, 29, 23, 50)
    assert time_of_day(datetime(2026, 11, 29, 23, 59, 59), now) == "23:59"
    assert time_of_day(datetime(2026, 11, 30, 4, 10), now) == "Mon 30 Nov, 04:10"


def test_every_step_has_its_share_of_the_tokens() -> None:
    """600 tokens in 20 steps of 1.5 s: 20 a second. A trainer that does not say how many it reads has no speed."""
    for tokens, expected in ((600.0, 20.0), (0.0, None)):
        pulse = Pulse(PretrainConfig(), Recorder(), "pretrain", (), tokens)
        pulse.steps, pulse.pace = 20, Pace(0, 20, now=0.0)
        for number in range(1, 6):
            pulse.pace.stepped(1.5 * number)
        assert pulse.tokens_per_second == expected
