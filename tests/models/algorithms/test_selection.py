"""Choosing among the candidates of rejection sampling."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.algorithms.selection import best_per_prompt, best_setting, top_n_per_group

CANDIDATES = st.lists(
    st.tuples(st.sampled_from(["p1", "p2", "p3"]), st.integers(0, 3).map(float)), min_size=1, max_size=20
)


@pytest.mark.conformance("best of all iterations", equation="models.algorithms.selection:best_per_prompt")
def test_best_of_all_iterations_an_older_response_wins_with_the_higher_score_under_the_newest_model() -> None:
    response_ids = ["v1-a", "v2-a", "v1-b", "v2-b"]
    prompt_ids = ["p1", "p1", "p2", "p2"]
    newest_scores = [0.9, 0.4, 0.1, 0.3]
    chosen = best_per_prompt(prompt_ids, newest_scores, response_ids)
    assert [response_ids[i] for i in chosen] == ["v1-a", "v2-b"]


def test_top_two_per_prompt_and_iteration_stay_in_the_pool() -> None:
    groups = [("p1", 1), ("p1", 1), ("p1", 2), ("p1", 1), ("p1", 2)]
    assert top_n_per_group(groups, [0.1, 0.7, 0.2, 0.5, 0.9], ["a", "b", "c", "d", "e"], n=2) == [1, 3, 4, 2]


def test_equal_scores_are_decided_by_the_smaller_id() -> None:
    assert best_per_prompt(["p", "p", "p"], [1.0, 1.0, 1.0], ["c", "a", "b"]) == [1]


@given(CANDIDATES, st.integers(1, 4), st.randoms(use_true_random=False))
@pytest.mark.conformance("best of all iterations", equation="models.algorithms.selection:top_n_per_group")
def test_the_choice_does_not_depend_on_the_order_of_the_candidates(
    candidates: list[tuple[str, float]], n: int, shuffle: random.Random
) -> None:
    rows = [(prompt, score, f"r{i:02d}") for i, (prompt, score) in enumerate(candidates)]
    shuffled = rows.copy()
    shuffle.shuffle(shuffled)
    picked = []
    for order in (rows, shuffled):
        prompts, scores, ids = zip(*order, strict=True)
        picked.append({ids[i] for i in top_n_per_group(prompts, scores, ids, n)})
    assert picked[0] == picked[1]


@given(CANDIDATES, st.integers(1, 4))
def test_nothing_left_out_beats_anything_taken(candidates: list[tuple[str, float]], n: int) -> None:
    prompts, scores = zip(*candidates, strict=True)
    taken = top_n_per_group(prompts, scores, [str(i) for i in range(len(candidates))], n)
    for prompt in set(prompts):
        members = [i for i, other in enumerate(prompts) if other == prompt]
        best = sorted((scores[i] for i in members), reverse=True)[:n]
        assert [scores[i] for i in taken if prompts[i] == prompt] == best


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="candidate 'b'"):
        best_per_prompt(["p", "p"], [0.0, score], ["a", "b"])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        best_per_prompt(["p", "q"], [0.0, 1.0], ["a", "a"])
    with pytest.raises(ValueError, match="one length"):
        best_per_prompt(["p"], [0.0, 1.0], ["a", "b"])
    with pytest.raises(ValueError, match="n must be at least 1"):
        top_n_per_group(["p"], [0.0], ["a"], n=0)


def test_the_best_setting_has_the_highest_mean_and_the_runner_up_the_next() -> None:
    # means 2, 3, 2.5
    assert best_setting([[1.0, 3.0], [6.0, 0.0], [2.0, 3.0]]) == (1, 2)
    # turned round, the worst one comes last
    assert best_setting([[-1.0, -3.0], [-6.0, 0.0], [-2.0, -3.0]]) == (0, 2)


def test_of_equal_settings_the_earlier_one_is_taken() -> None:
    assert best_setting([[1.0, 2.0], [2.0, 1.0], [0.0, 3.0]]) == (0, 1)


def test_settings_that_cannot_be_compared_are_refused() -> None:
    for outcomes, message in (
        ([[1.0]], "1 settings leave no choice"),
        ([[1.0], [1.0, 2.0]], "on the same prompts"),
        ([[], []], "on the same prompts"),
        ([[1.0], [math.nan]], "setting 1"),
    ):
        with pytest.raises(ValueError, match=message):
            best_setting(outcomes)
