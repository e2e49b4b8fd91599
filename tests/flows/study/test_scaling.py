"""Held-out loss against tokens: the law by hand, points of the runs that have them, and places on logarithmic axes."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from data_store.errors import InputError
from data_store.estimate import Estimate
from flows.study.config import StudyConfig, load_study, open_study
from flows.study.results import Row, RunResult
from flows.study.scaling import Point, as_json, laws_in_words, lines_of, loss_in_words, power_law, table_of
from flows.study.scaling_picture import picture_of
from tests.flows.recipe_runs import ROOT

SVG = "{http://www.w3.org/2000/svg}"
STUDY = ROOT / "configs" / "studies" / "scaling.yaml"


def run(size: float, tokens: float, loss: float, seed: int = 1) -> RunResult:
    metrics = {"parameters": size, "trained_tokens": tokens, "heldout_loss/web": loss}
    known = {"heldout_loss/web": Estimate(loss, 40, loss * 0.9, loss * 1.1)}
    return RunResult("run", seed, seed, {}, {}, "", 1, 1.0, 0, 0.0, 0, metrics, known)


def points(*losses: float) -> list[Point]:
    return [Point(10, 4.0 ** (n + 1), Estimate(loss, 40), (loss,)) for n, loss in enumerate(losses)]


@pytest.mark.conformance("a law of losses is drawn where none holds", equation="flows.study.scaling:power_law")
def test_the_law_of_losses_that_halve_when_tokens_are_four_times_as_many_is_by_hand() -> None:
    """loss = 8 · tokens^-.5: 4, 2 and 1 at 4, 16 and 64 tokens."""
    law = power_law(points(4, 2, 1))
    assert law is not None
    assert (law.scale, law.exponent, law.explained) == (pytest.approx(8), pytest.approx(0.5), pytest.approx(1))
    assert law.fits
    assert law.at(256) == pytest.approx(0.5)


@pytest.mark.conformance("a law of losses is drawn where none holds", equation="flows.study.scaling:power_law")
def test_what_does_not_fall_in_a_line_has_no_law_and_two_points_are_none() -> None:
    assert power_law(points(4, 2)) is None
    for losses in ((2, 1, 2), (1, 2, 4), (2, 2, 2)):  # down and up, upwards, level
        law = power_law(points(*losses))
        assert law is not None
        assert not law.fits
    told = laws_in_words({10.0: points(4, 2, 1), 20.0: points(2, 1, 2), 30.0: points(4)})
    assert told[0] == "10 parameters: loss = 8 · tokens^-0.5, R² 1"
    assert told[1].startswith("20 parameters: no power law fits (loss = ")
    assert told[2] == "30 parameters: no law of fewer than 3 counts of tokens"


def test_a_size_of_model_is_a_line_and_what_was_not_pretrained_is_no_point() -> None:
    rows = [
        Row("b", (run(20, 64, 1.5),)),
        Row("a", (run(10, 64, 2), run(10, 64, 4, seed=2))),
        Row("c", (run(10, 16, 3),)),
        Row("d", (RunResult("later", 1, 1, {}, {}, "", 0, 0.0, 0, 0.0, 1),)),
    ]
    lines = lines_of(rows, "web")
    assert [(size, [point.tokens for point in of]) for size, of in lines.items()] == [(10, [16, 64]), (20, [64])]
    one, two = lines[10.0]
    assert (one.loss.value, one.loss.low, one.loss.n) == (3, pytest.approx(2.7), 40), "of one seed over documents"
    assert (two.loss.value, two.loss.n, two.seeds) == (3, 2, (2, 4)), "of two over seeds"
    assert lines_of(rows, "books") == {}
    assert [row["tokens"] for row in table_of(lines)] == ["16", "64", "64"]
    assert as_json(lines)[1] == {
        "parameters": 20,
        "points": [{"parameters": 20, "tokens": 64, "loss": vars(lines[20.0][0].loss), "seeds": (1.5,)}],
        "power_law": None,
    }
    assert loss_in_words(rows).startswith("mean over seeds")
    assert loss_in_words(rows[:1]).startswith("one seed;")


def test_on_the_picture_equal_ratios_are_equal_distances_and_a_law_that_fits_is_dashed() -> None:
    config = StudyConfig(name="mine", config=Path("x"), vary={"a": (1,)}, scaling="web")
    rows = [Row(str(n), (run(10, 10.0 ** (n + 3), 8 / 2**n),)) for n in range(3)]
    svg = picture_of(config, [*rows, Row("other", (run(20, 1000, 5),))])
    assert svg is not None
    root = ET.fromstring(svg)
    dots = [each for each in root.iter(f"{SVG}circle") if each.get("r") == "4.5"]
    x, y = ([float(each.get(name) or 0) for each in dots] for name in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[1] - y[0] == pytest.approx(y[2] - y[1], abs=0.2)
    assert x[3] == pytest.approx(x[0], abs=0.1)
    bars = [each.get("d") or "" for each in root.iter(f"{SVG}path") if each.get("stroke-width") == "2"]
    assert len(bars) == 4
    bottom, top = float(bars[0].split(" ")[1].split("V")[0]), float(bars[0].split("V")[1])
    scale = (y[1] - y[0]) / math.log(2)
    assert bottom - top == pytest.approx(scale * math.log(1.1 / 0.9), abs=0.2)
    dashed = [each for each in root.iter(f"{SVG}polyline") if each.get("stroke-dasharray")]
    assert len(dashed) == 1
    assert picture_of(config, rows[:0]) is None


def test_the_ready_made_study_varies_size_and_tokens_and_a_source_that_the_mix_lacks_is_refused() -> None:
    study = load_study(STUDY)
    assert len(open_study(study).variants) == 12
    with pytest.raises(InputError, match="the run's mix has no 'web'; it has world"):
        open_study(study.model_copy(update={"scaling": "web"}))
    with pytest.raises(InputError, match="it has no sources: give a mix"):
        open_study(study.model_copy(update={"set": {"iterations": 0}}))
