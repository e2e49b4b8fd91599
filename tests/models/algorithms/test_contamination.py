"""Scores of clean and of contaminated samples."""

import math

import pytest

from models.algorithms.contamination import SUBSETS, Subset, in_subset, moved_by_contamination, subset_scores


def test_the_limits_are_a_fifth_and_four_fifths_and_belong_to_the_contaminated_side() -> None:
    told = {share: [name for name in SUBSETS if in_subset(share, name)] for share in (0.0, 0.19, 0.2, 0.79, 0.8, 1.0)}
    clean, between, dirty = ["clean", "not_dirty"], ["not_clean", "not_dirty"], ["not_clean", "dirty"]
    assert told == {0.0: clean, 0.19: clean, 0.2: between, 0.79: between, 0.8: dirty, 1.0: dirty}


def test_z_by_hand() -> None:
    # Scores 1 1 0 0: mu 1/2, sigma 1/2. Clean are three, with the mean 1/3: Z = -1/6 / (1/2 / sqrt 3) = -1/sqrt 3.
    clean, not_clean, not_dirty, dirty = subset_scores([1, 1, 0, 0], [0.9, 0.0, 0.0, 0.0])
    assert (clean.n, not_clean.n, not_dirty.n, dirty.n) == (3, 1, 3, 1)
    assert clean.mean == pytest.approx(1 / 3)
    assert clean.z == pytest.approx(-1 / math.sqrt(3))
    assert dirty.z == not_clean.z == pytest.approx(1.0)


@pytest.mark.conformance(
    "evaluation items in the training data", equation="models.algorithms.contamination:subset_scores"
)
def test_z_of_hellaswag_as_the_paper_reports_it() -> None:
    """Table 51, Llama 2 70B on HellaSwag: 7391 clean samples score 80.0 where all 10042 score 82.5: Z is -5.73."""
    right = round(0.825 * 10_042)
    clean_right = round(0.80 * 7391)
    scores = [1.0] * clean_right + [0.0] * (7391 - clean_right)
    scores += [1.0] * (right - clean_right) + [0.0] * (10_042 - 7391 - (right - clean_right))
    clean = subset_scores(scores, [0.0] * 7391 + [0.9] * (10_042 - 7391))[0]
    assert clean.n == 7391
    assert clean.z == pytest.approx(-5.73, abs=0.15)  # the paper gives the means to one digit


def test_a_subset_without_samples_and_scores_that_are_all_alike_have_no_z() -> None:
    clean, _, _, dirty = subset_scores([1.0, 0.0], [0.0, 0.0])
    assert (clean.z, dirty) == (0.0, Subset("dirty", (), None))
    assert [each.z for each in subset_scores([0.3] * 3, [0.0, 0.5, 1.0])] == [None] * 4
    assert subset_scores([], [])[0] == Subset("clean", (), None)


def test_a_score_is_moved_where_all_four_subsets_say_so() -> None:
    """100 contaminated samples all right, 100 clean ones all wrong, none between: Z is ±10 in each."""
    found = subset_scores([1.0] * 100 + [0.0] * 100, [1.0] * 100 + [0.0] * 100)
    assert [each.z for each in found] == [pytest.approx(z) for z in (-10, 10, -10, 10)]
    assert moved_by_contamination(found)
    assert not moved_by_contamination(found[:3])
    assert not moved_by_contamination([*found[:3], Subset("dirty", (0.6,) * 100, 2.0)])
