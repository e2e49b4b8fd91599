"""Rows are filled first fit in a random order, and hold every sequence once."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training import packing
from models.training.packing import pack
from models.training.pretrain import OPEN_ROWS


def test_first_fit_by_hand() -> None:
    """Rows of 10, two of them open. 4, 7, 5 fill the first to 9 and the second to 7; 6 closes the first; 3 ends the
    second at 10; 4 fits into the third; 8 closes the second, and 1 would have fitted into the first."""
    lengths = [4, 7, 5, 6, 3, 4, 8, 1, 1]
    assert packing._first_fit(range(9), lengths, 10, 2) == [[0, 2], [1, 4], [3, 5], [6, 7, 8]]
    assert packing._first_fit([8, 6, 3, 2], lengths, 10, 2) == [[8, 6], [3], [2]]
    assert packing._first_fit(range(9), lengths, 10, 1) == [[0], [1], [2], [3, 4], [5], [6, 7, 8]]


@pytest.mark.slow
@given(st.lists(st.integers(1, 30), min_size=1, max_size=80), st.integers(0, 50), st.integers(1, 8))
def test_every_sequence_stands_once_in_a_row_that_holds_it(lengths: list[int], seed: int, open_rows: int) -> None:
    ids = [[i] * length for i, length in enumerate(lengths)]
    rows = pack(ids, ids, 30, seed, open_rows=open_rows)
    placed = [
        sequence
        for row, parts in zip(rows["input_ids"], rows["seq_lengths"], strict=True)
        for sequence in cut(row, parts)
    ]
    assert sorted(placed) == sorted(ids)
    assert max(map(len, rows["input_ids"])) <= 30


def cut(row: list[int], lengths: list[int]) -> list[list[int]]:
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    return [row[start : start + length] for start, length in zip(starts, lengths, strict=True)]


@pytest.mark.conformance("rows of one kind of text", equation="models.training.packing:pack")
def test_rows_are_full_and_of_mixed_lengths() -> None:
    """Documents as long as the little world's: 12 to 45 tokens and a few of 100, in rows of 128."""
    rng = random.Random(1)
    lengths = [rng.choice((12, 15, 18, 21, 25, 30, 36, 45, 100 if i % 9 == 0 else 24)) for i in range(3000)]
    ids = [[1] * length for length in lengths]
    rows = pack(ids, ids, 128, seed=3, open_rows=OPEN_ROWS)
    filled = sum(lengths) / (128 * len(rows))
    assert filled > 0.95
    means = [sum(parts) / len(parts) for parts in rows["seq_lengths"]]
    of_first, of_last = (sum(part) / len(part) for part in (means[: len(means) // 2], means[len(means) // 2 :]))
    assert of_first == pytest.approx(of_last, rel=0.05)  # no half of the rows has the long ones
    mixed = [row for row in rows["seq_lengths"] if len(row) > 2 and max(row) > 1.5 * min(row)]
    assert len(mixed) > 0.7 * len(rows)


def test_the_order_is_the_seeds_and_a_row_alone_keeps_it() -> None:
    ids = [[i] * (1 + i % 7) for i in range(50)]
    first, again, other = (pack(ids, ids, 20, seed, open_rows=4)["input_ids"] for seed in (1, 1, 2))
    assert first == again != other
    alone = pack(ids, ids, 20, 1, together=False)
    assert sorted(alone["input_ids"]) == sorted(ids)
    assert first[0][0] == alone["input_ids"][0][0]


def test_a_sequence_longer_than_a_row_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="sequence 2 has 9 tokens, a row holds 8"):
        pack([[1] * 8, [1] * 9], [[1] * 8, [1] * 9], 8, 0)
