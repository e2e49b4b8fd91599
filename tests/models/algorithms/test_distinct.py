"""What is too close to a kept vector goes, whatever was compared together."""

import math

import pytest
import torch

from models.algorithms.distinct import Distinct, Near, cosines


def at(*degrees: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(each)), math.sin(math.radians(each))] for each in degrees])


@pytest.mark.conformance("a chain of rows that mean the same", equation="models.algorithms.distinct:Distinct")
def test_each_is_compared_with_kept_ones_alone_so_that_no_chain_is_dropped() -> None:
    distinct = Distinct(math.cos(math.radians(25)))
    found = distinct.add(at(0, 20, 40, 60, 62))
    assert [each and each.place for each in found] == [None, 0, None, 1, 1]
    assert [round(each.cosine, 6) for each in found if each] == [
        round(math.cos(math.radians(each)), 6) for each in (20, 20, 22)
    ]
    assert len(distinct) == 2


def test_the_closest_is_named_and_of_equally_close_ones_the_first() -> None:
    distinct = Distinct(0.5)
    distinct.keep(at(0, 50, 50, 100))
    near, tie, far = distinct.nearest(at(10, 50, 200))
    assert near == Near(0, pytest.approx(math.cos(math.radians(10))))
    assert tie == Near(1, pytest.approx(1.0))
    assert far is None
    assert len(distinct) == 4, "nothing is kept by looking"


def test_a_cosine_that_is_the_threshold_is_close_enough() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]) / 5
    exact = float(cosines(torch.cat([one, other]), [(0, 1)])[0])
    for threshold, is_close in ((exact, True), (math.nextafter(exact, 1), False)):
        distinct = Distinct(threshold)
        distinct.keep(one)
        assert (distinct.nearest(other)[0] is not None) == is_close


@pytest.mark.parametrize("together", [1, 7, 100, 300])
def test_how_many_are_compared_at_once_changes_nothing(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.algorithms.distinct._TOGETHER", 10)
    vectors = torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    table = torch.nn.functional.cosine_similarity(vectors[:, None].double(), vectors[None].double(), dim=-1)
    kept, wanted = list[int](), list[int | None]()
    for row in range(len(vectors)):
        close = max(((float(table[row, each]), -place) for place, each in enumerate(kept)), default=(-1.0, 0))
        wanted.append(-close[1] if close[0] >= 0.9 else None)
        if wanted[-1] is None:
            kept.append(row)
    distinct, found = Distinct(0.9), list[Near | None]()
    for start in range(0, len(vectors), together):
        found += distinct.add(vectors[start : start + together])
    assert [each and each.place for each in found] == wanted
    assert 20 < len(distinct) == len(kept) < 280


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_what_is_no_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="no threshold"):
        Distinct(threshold)
