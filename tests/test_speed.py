"""`make bench`: figures only of work that is the same, ratios by hand, and the page that tells them."""

import sys
from pathlib import Path

import pytest

from benchmarks.peers.page import BEGIN, END, PAGE, kept, with_figures
from benchmarks.peers.rows import Row, ratios, result_of
from benchmarks.peers.turns import Side, alternate, require_alike

WORK = """
from benchmarks.peers.turns import Turn
turn, number = Turn(), 0
while True:
    number += 1
    turn.begin()
    open({told!r}, "a").write("{name}")
    turn.end(tokens={tokens}, number=number)
"""


def side(name: str, told: Path, tokens: int) -> Side:
    return Side(name, ["-c", WORK.format(told=str(told), name=name, tokens=tokens)])


def test_sides_take_turns_and_the_round_that_warms_up_is_left_out(tmp_path: Path) -> None:
    told = tmp_path / "told"
    found = alternate([side("a", told, 7), side("b", told, 7)], 3, {"tokens": 0})
    assert told.read_text() == "ba" + "ab" + "ba" + "ab"
    assert {name: [answer["number"] for answer in answers] for name, answers in found.items()} == {
        "a": [2, 3, 4],
        "b": [2, 3, 4],
    }


def test_no_turn_is_timed_where_the_sides_do_not_do_the_same_work(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with pytest.raises(RuntimeError, match="the sides do not do the same work: tokens is b 8, a 7"):
        alternate([side("a", told, 7), side("b", told, 8)], 3, {"tokens": 0})
    assert told.read_text() == "ba"


def test_a_side_that_ends_is_named(tmp_path: Path) -> None:
    ended = Side("ended", ["-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match="ended ended with 3"):
        alternate([side("a", tmp_path / "told", 7), ended], 3)


def test_the_peak_of_a_side_is_its_own_and_not_that_of_the_process_which_started_it(tmp_path: Path) -> None:
    held = bytearray(200 << 20)
    held[:: 4 << 10] = b"x" * len(held[:: 4 << 10])
    answers = alternate([side("a", tmp_path / "told", 7)], 1)["a"]
    assert 1 < answers[0]["peak_mb"] < 100
    assert sys.getsizeof(held) > 200e6


@pytest.mark.parametrize(
    ("ours", "theirs", "bound", "refused"), [(100, 101, 0.01, False), (100, 102, 0.01, True), (-5.0, -5.0, 0, False)]
)
def test_a_bound_is_of_the_largest_number(ours: float, theirs: float, bound: float, refused: bool) -> None:
    if refused:
        with pytest.raises(RuntimeError, match="loss is a 100, b 102"):
            require_alike("loss", {"a": ours, "b": theirs}, bound)
    else:
        require_alike("loss", {"a": ours, "b": theirs}, bound)


OURS = [{"seconds": 1.0, "peak_mb": 10.0, "tokens": 4}, {"seconds": 2.0, "peak_mb": 12.0, "tokens": 4}]
THEIRS = [{"seconds": 6.0, "peak_mb": 30.0, "tokens": 8}, {"seconds": 4.0, "peak_mb": 20.0, "tokens": 8}]


def test_ratios_are_of_pairs_of_turns_by_hand() -> None:
    assert ratios(OURS, THEIRS, None) == [2.0, 6.0]
    assert ratios(OURS, THEIRS, "tokens") == [1.0, 3.0]  # they learned twice as much


def test_what_a_row_came_to_by_hand() -> None:
    ours, theirs = result_of(Row("x", "some work", {}), {"Halter": OURS, "other": THEIRS})["sides"]
    assert (ours["cpu_seconds"], ours["peak_mb"], ours["ratio"]["median"]) == (1.5, 12.0, 1.0)
    assert (theirs["cpu_seconds"], theirs["peak_mb"]) == (5.0, 30.0)
    assert theirs["ratio"] == {"median": 4.0, "lowest": 2.0, "highest": 6.0}
    assert theirs["work"] == {"tokens": 8}


def test_there_is_no_figure_where_answers_were_of_other_lengths() -> None:
    with pytest.raises(RuntimeError, match="tokens is Halter 4"):
        result_of(Row("x", "some work", {}, sampled="tokens"), {"Halter": OURS, "other": THEIRS})


def test_the_page_holds_the_figures_that_are_kept() -> None:
    text = PAGE.read_text()
    assert with_figures(text, kept()) == text
    for result in kept():
        for side in result.get("sides", [])[1:]:
            assert f"**{side['ratio']['median']:.2f}**" in text


def test_a_page_without_a_place_for_figures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"speed.md lacks the lines"):
        with_figures(f"{END}{BEGIN}", [])
