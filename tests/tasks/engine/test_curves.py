"""The pictures of a training: which curves stand in the first one, and that each can be read."""

import base64
import math
import time
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from data_store.records import Metric
from tasks.engine.curves import Meaning, meaning_of, pictures, ticks

PPO = ("approx_kl", "clip_fraction", "entropy", "explained_variance", "finished", "kl", "kl_k3", "length")
PPO += ("policy_grad_norm", "policy_loss", "ratio_max", "ratio_mean", "reward", "safety_reward", "validation_kl")
PPO += ("validation_reward", "value_grad_norm", "value_loss")


def texts(picture: str) -> list[str]:
    """What is written in a picture."""
    start, _, content = picture.partition(",")
    assert start == "data:image/svg+xml;base64"
    root = ElementTree.fromstring(base64.b64decode(content))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def names(picture: str) -> list[str]:
    """The metrics in a picture."""
    return [text for text in texts(picture) if "/" in text]


def curve(name: str, *values: float) -> list[Metric]:
    return [Metric(name, value, step) for step, value in enumerate(values, start=1)]


def test_the_first_picture_holds_what_tells_most_and_no_picture_holds_many() -> None:
    drawn = [names(picture) for picture in pictures(metric for name in PPO for metric in curve(f"ppo/{name}", 1, 2))]
    assert drawn[0] == ["ppo/reward", "ppo/kl", "ppo/length", "ppo/validation_reward"]
    assert [len(picture) for picture in drawn] == [4, 6, 6, 2]
    assert sorted(name for picture in drawn for name in picture) == sorted(f"ppo/{name}" for name in PPO)
    (sft,) = [names(picture) for picture in pictures([*curve("sft/grad_norm", 1), *curve("sft/loss", 1)])]
    assert sft == ["sft/loss", "sft/grad_norm"]


def test_each_curve_has_a_title_units_and_axes_with_round_numbers() -> None:
    (picture,) = pictures(curve("ppo/kl", *(0.1 * step for step in range(21))))
    assert texts(picture) == [
        "KL to the reference",
        "ppo/kl",
        "PPO iteration",
        "nats per response",
        *("0", "0.5", "1", "1.5", "2"),
        *("1", "5", "10", "15", "21"),
    ]
    (picture,) = pictures(curve("dpo/loss", 1.0))
    assert texts(picture)[:4] == ["Loss", "dpo/loss", "optimizer step", "nats per pair"]


@pytest.mark.parametrize(
    ("least", "most", "wanted"),
    [
        (0.0, 2.0, [0.0, 0.5, 1.0, 1.5, 2.0]),
        (17.1, 19.6, [17.0, 18.0, 19.0, 20.0]),
        (-0.148, 0.353, [-0.2, 0.0, 0.2, 0.4]),
        (3.0, 3.0, [3.0, 4.0]),
        (0.0, 0.0, [0.0, 0.5]),
        (-5e-324, 5e-324, [-5e-324, 5e-324]),
        (-1e308, 1e308, [-1e308, 1e308]),
        (1.000001e6, 1.000002e6, None),
        (0.0, 3e-14, [0.0, 1e-14, 2e-14, 3e-14]),
        (1.0, 1.0 + 2**-52, [1.0, 1.5]),
        (1e6, 1e6 + 1e-9, None),
        (1.0, 1.0 + 1e-11, None),
        (5e-324, 5e-324, None),
    ],
)
def test_ticks_are_round_and_hold_all_values(least: float, most: float, wanted: list[float] | None) -> None:
    found = ticks(least, most)
    assert wanted is None or found == wanted
    assert len(found) >= 2
    assert all(one < other for one, other in pairwise(found)), "a picture divides by what lies between them"
    assert found[0] <= least
    assert found[-1] >= most


def test_values_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    (picture,) = pictures(curve("sft/loss", 1.0, math.nan, math.inf, 2.0))
    assert "2 of 4 values are no numbers" in texts(picture)
    (nothing,) = pictures(curve("sft/loss", math.nan))
    assert "1 of 1 values are no numbers" in texts(nothing)
    assert pictures([]) == []


def test_a_curve_that_nobody_knows_has_its_own_name_and_cannot_leave_its_place_in_the_picture() -> None:
    assert meaning_of("mine/odd_thing") == Meaning("odd thing", "")
    assert meaning_of("dpo/validation_margin") == Meaning("Margin between the answers, held-out", "nats")
    (picture,) = pictures(curve("mine/<script>", 1.0))
    assert "mine/<script>" in texts(picture)
    assert b"<script>" not in base64.b64decode(picture.partition(",")[2])


def test_the_curves_of_ppo_are_drawn_in_a_moment() -> None:
    """They took 160 ms with a plotting library, and its import seconds."""
    curves = [Metric(f"ppo/{name}", math.sin(step), step) for name in PPO for step in range(1, 21)]
    started = time.process_time()
    pictures(curves)
    assert time.process_time() - started < 0.1
