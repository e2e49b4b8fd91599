"""pass@k by hand and against its definition."""

from itertools import combinations

import pytest

from models.algorithms.pass_at_k import pass_at_k


def test_by_hand() -> None:
    # Of 5 programs 2 are right: C(3, 2) / C(5, 2) = 3/10 pairs have none.
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_k(5, 2, 1) == pytest.approx(0.4)
    assert pass_at_k(5, 2, 4) == 1.0
    assert pass_at_k(5, 0, 3) == 0.0
    assert pass_at_k(1, 1, 1) == 1.0


@pytest.mark.conformance("pass@k is biased", equation="models.algorithms.pass_at_k:pass_at_k")
@pytest.mark.parametrize("n", [1, 4, 7])
def test_it_is_the_share_of_all_choices_that_hold_a_correct_one(n: int) -> None:
    for correct in range(n + 1):
        for k in range(1, n + 1):
            choices = list(combinations(range(n), k))
            share = sum(min(choice) < correct for choice in choices) / len(choices)
            assert pass_at_k(n, correct, k) == pytest.approx(share)


def test_many_samples_do_not_overflow_and_nonsense_is_refused() -> None:
    assert pass_at_k(1000, 1, 100) == pytest.approx(0.1)
    for n, correct, k in ((5, 2, 6), (5, 6, 1), (5, -1, 1), (5, 2, 0)):
        with pytest.raises(ValueError, match="are wanted"):
            pass_at_k(n, correct, k)
