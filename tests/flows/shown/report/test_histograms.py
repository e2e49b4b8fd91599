"""Bars lie between their edges, are as high as their shares, and say what they are."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from data_store.catalog.whole import Measured
from flows.shown.report.histograms import histograms

SVG = "{http://www.w3.org/2000/svg}"


def share(value: float, name: str = "bin") -> Measured:
    return Measured("r" * 32, name, value, 200, 0.0, 1.0, "newest reward models")


def bars(root: ElementTree.Element) -> list[tuple[float, float, float]]:
    """(left, right, height) of each."""
    found = []
    for each in root.iter(f"{SVG}path"):
        if "data-value" in each.attrib:
            left, foot, top, right, _ = map(float, re.findall(r"[-\d.]+", each.get("d", "")))
            found.append((left, right, foot - top))
    return found


def test_a_bar_is_as_high_as_its_share_and_lies_between_its_edges_on_the_scale_of_all_rows() -> None:
    rows = [
        ("V0", [share(0.5), share(0.25), share(0.25)], share(0.1)),
        ("V1", [share(0.0), share(0.0), share(1.0)], None),
    ]
    root = ElementTree.fromstring(histograms("Rewards", "reward", [-1.0, 0.0, 1.0, 2.0], rows))
    drawn = bars(root)
    assert len(drawn) == 6
    heights = [height for _, _, height in drawn]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[5] == pytest.approx(2 * heights[0], abs=0.2)
    for (_, right, _), (left, _, _) in pairwise(drawn[:3]):
        assert right < left, "bars do not lie on each other"
    assert [left for left, _, _ in drawn[:3]] == [left for left, _, _ in drawn[3:]], "one axis for all"
    said = root.get("aria-label") or ""
    assert said == "Rewards: means V0 0.1"
    titles = [each.text or "" for each in root.iter(f"{SVG}title")]
    assert titles[0] == "V0: 50% from -1 to 0, n 200"


def test_names_that_are_markup_stay_text_and_without_a_share_there_is_no_picture() -> None:
    root = ElementTree.fromstring(histograms("R", "reward", [0.0, 1.0], [("<b>", [share(1.0)], share(0.5))]))
    assert "<b>" in [each.text for each in root.iter(f"{SVG}text")]
    assert histograms("R", "reward", [0.0, 1.0], [("V0", [None], None)]) == ""
