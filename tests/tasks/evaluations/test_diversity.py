"""Diversity by hand, and against answers that are all alike or all different."""

import math
import statistics
from collections.abc import Sequence

import pytest

from tasks.evaluations.diversity import Words, distinct_of, self_bleus, words_of

UNIFORM = [["a", "b", "c", "d", "e"]] * 3
APART = [["a", "b", "c", "d", "e"], ["f", "g", "h", "i", "j"], ["k", "l", "m", "n", "o"]]


def distinct(answers: Sequence[Words], order: int) -> float | None:
    found = distinct_of(answers, order)
    return None if found is None else found.value


def self_bleu(answers: Sequence[Words]) -> float | None:
    found = self_bleus(answers)
    return statistics.fmean(found) if found else None


def test_distinct_n_by_hand() -> None:
    answers = [words_of("The cat. The cat"), words_of("the dog")]
    # the cat . the cat | the dog: 7 words, 4 different; 4 + 1 pairs, of which "the cat" comes twice
    assert distinct(answers, 1) == 4 / 7
    assert distinct(answers, 2) == 4 / 5
    assert distinct([["one"]], 2) is None
    assert distinct(APART, 1) == 1.0


def test_answers_that_are_alike_have_self_bleu_1_and_those_that_share_nothing_0() -> None:
    assert self_bleu(UNIFORM) == pytest.approx(1.0)
    assert self_bleu(APART) == 0.0
    assert self_bleu(UNIFORM[:1]) is None
    assert self_bleu([[], []]) is None


def test_self_bleu_by_hand_with_clipped_counts_and_the_brevity_penalty() -> None:
    """Of `a a`: one of two `a` is in the other, `a a` is not: 0. Of `a`: 1/1, but the other is twice as long:
    exp(1 - 2)."""
    assert self_bleu([["a", "a"], ["a"]]) == pytest.approx((0 + math.exp(-1)) / 2)
    # `a b` against `a b c`: both n-grams are there, exp(1 - 3/2); `a b c` against `a b`: 2/3, 1/2, 0
    assert self_bleu([["a", "b"], ["a", "b", "c"]]) == pytest.approx((math.exp(-0.5) + 0) / 2)
    # four words each, the last one other: 3/4, 2/3, 1/2, and no 4-gram
    assert self_bleu([["a", "b", "c", "d"], ["a", "b", "c", "e"]]) == 0.0
    # five words: 4/5, 3/4, 2/3, 1/2
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert self_bleu([["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "f"]]) == pytest.approx(expected)


def test_an_n_gram_counts_as_often_as_one_other_answer_has_it_not_all_together() -> None:
    """`a` comes once in each of the others, so of `a a` one is found and not two."""
    two, three = self_bleu([["a", "a"], ["a"]]), self_bleu([["a", "a"], ["a"], ["a"]])
    # of each `a` another `a` is found, of the same length
    assert three == pytest.approx((0 + 1 + 1) / 3)
    assert two == pytest.approx(math.exp(-1) / 2)


@pytest.mark.conformance("a figure without its interval", equation="tasks.evaluations.diversity:distinct_of")
def test_the_interval_of_distinct_n_is_the_jackknifes_of_figures_counted_anew() -> None:
    answers = [words_of(text) for text in ("a b a", "b c d e", "a", "f f g", "h")]
    found = distinct_of(answers, 1)
    assert found is not None
    without = [distinct(answers[:i] + answers[i + 1 :], 1) for i in range(5)]
    assert None not in without
    spread = statistics.pvariance(without) * 5  # type: ignore[type-var]
    error = math.sqrt(4 / 5 * float(spread or 0))
    assert (found.n, found.low) == (5, pytest.approx(found.value - 1.959964 * error, abs=1e-6))
    assert found.high == min(1.0, found.value + 1.959964 * error)
    one = distinct_of([["a", "b"]], 1)
    assert one is not None
    assert (one.n, one.low, one.high) == (1, None, None), "of one answer nothing is known of others"
    apart = distinct_of(APART, 1)
    assert apart is not None
    assert (apart.value, apart.n, apart.low) == (1.0, 3, None), "three answers without a repetition prove no fourth"
