"""Skip-grams and longest matches of samples in documents."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.algorithms import overlap
from models.algorithms.overlap import Overlap, OverlapSearch

SAMPLE = list(range(100, 120))


def search(
    samples: Sequence[Sequence[int]], documents: Sequence[Sequence[int]], ngram: int = 10, skips: int = 4
) -> list[Overlap]:
    looked = OverlapSearch(samples, ngram, skips)
    looked.add([f"d{number}" for number in range(len(documents))], documents)
    return looked.overlaps()


def slow_cover(sample: Sequence[int], document: Sequence[int], ngram: int, skips: int) -> tuple[set[int], int]:
    """The definition, pair by pair: what is covered, and the most tokens of one match."""
    covered: set[int] = set()
    longest = 0
    for p in range(len(sample) - ngram + 1):
        for q in range(len(document) - ngram + 1):
            if list(sample[p : p + ngram]) != list(document[q : q + ngram]):
                continue
            left = skips
            places = []
            for offset in range(min(len(sample) - p, len(document) - q)):
                if sample[p + offset] == document[q + offset]:
                    places.append(p + offset)
                elif (left := left - 1) < 0:
                    break
            covered |= set(places)
            longest = max(longest, len(places))
    return covered, longest


def test_ten_tokens_of_twenty_are_a_match_and_nine_are_none() -> None:
    (ten,) = search([SAMPLE], [[1, *SAMPLE[5:15], 2]])
    assert (ten.tokens, ten.contaminated, ten.longest, ten.start, ten.end) == (20, 10, 10, 5, 15)
    assert (ten.share, ten.longest_share, ten.documents) == (0.5, 0.5, ("d0",))
    (nine,) = search([SAMPLE], [[1, *SAMPLE[5:14], 2]])
    assert nine == Overlap(20)


@pytest.mark.conformance("evaluation items in the training data", equation="models.algorithms.overlap:OverlapSearch")
def test_four_tokens_may_be_skipped_and_are_not_counted_themselves() -> None:
    changed = [token if place not in (10, 12, 14, 16) else 7 for place, token in enumerate(SAMPLE)]
    (four,) = search([SAMPLE], [changed])
    assert (four.contaminated, four.longest, four.start, four.end) == (16, 16, 0, 20)
    changed[17] = 7  # the fifth ends the match behind place 15
    (five,) = search([SAMPLE], [changed])
    assert (five.contaminated, five.longest, five.start, five.end) == (13, 13, 0, 16)
    (none,) = search([SAMPLE], [changed], skips=0)
    assert (none.contaminated, none.longest) == (10, 10)


def test_nothing_is_skipped_among_the_first_ten_and_a_match_ends_with_an_equal_token() -> None:
    early = [token if place != 9 else 7 for place, token in enumerate(SAMPLE)]
    (behind,) = search([SAMPLE], [early])
    assert (behind.contaminated, behind.start, behind.end) == (10, 10, 20)
    late = [*SAMPLE[:12], 7, 7, 7]
    (trailing,) = search([SAMPLE], [late])
    assert (trailing.contaminated, trailing.end) == (12, 12)


def test_matches_of_several_documents_are_joined_and_the_longest_is_one_documents() -> None:
    (both,) = search([SAMPLE], [SAMPLE[:10], [9, 9], SAMPLE[9:]])
    assert (both.contaminated, both.share) == (20, 1.0)
    assert (both.longest, both.start, both.end, both.documents) == (11, 9, 20, ("d2", "d0"))


def test_no_match_goes_over_the_end_of_a_document_or_of_a_sample() -> None:
    assert search([SAMPLE], [SAMPLE[:6], SAMPLE[6:12]]) == [Overlap(20)]
    assert [each.contaminated for each in search([SAMPLE[:6], SAMPLE[6:12]], [SAMPLE])] == [0, 0]


def test_samples_shorter_than_an_ngram_and_no_samples_at_all_have_no_match() -> None:
    assert search([SAMPLE[:9], []], [SAMPLE]) == [Overlap(9), Overlap(0)]
    assert search([[]], [SAMPLE])[0].share == 0.0
    assert search([], [SAMPLE]) == []
    with pytest.raises(ValueError, match="not 0 and 4"):
        OverlapSearch([SAMPLE], 0)


def test_five_documents_are_named_those_with_the_longest_matches_first() -> None:
    documents = [SAMPLE[:length] for length in (10, 12, 20, 11, 13, 14, 9)]
    assert search([SAMPLE], documents)[0].documents == ("d2", "d5", "d4", "d1", "d3")


SMALL = st.lists(st.integers(0, 2), max_size=24)


@pytest.mark.conformance("evaluation items in the training data", equation="models.algorithms.overlap:OverlapSearch")
@given(samples=st.lists(SMALL, max_size=3), documents=st.lists(SMALL, max_size=3), skips=st.integers(0, 2))
@settings(max_examples=150)
def test_what_is_found_is_what_the_definition_finds_pair_by_pair(
    samples: list[list[int]], documents: list[list[int]], skips: int
) -> None:
    for found, sample in zip(search(samples, documents, 3, skips), samples, strict=True):
        slow = [slow_cover(sample, document, 3, skips) for document in documents]
        assert found.contaminated == len(set().union(*(covered for covered, _ in slow)))
        assert found.longest == max((longest for _, longest in slow), default=0)


def test_stretches_and_slices_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    samples = [[rng.randrange(3) for _ in range(40)] for _ in range(6)]
    documents = [[rng.randrange(3) for _ in range(50)] for _ in range(30)]
    whole = search(samples, documents, 6)
    monkeypatch.setattr(overlap, "_STRETCH", 120)
    monkeypatch.setattr(overlap, "_PAIRS", 7)
    assert [(each.contaminated, each.longest) for each in search(samples, documents, 6)] == [
        (each.contaminated, each.longest) for each in whole
    ]


def test_an_ngram_that_is_everywhere_costs_little_and_hides_no_longer_match() -> None:
    """Twelve tokens that every sample and every document begins with: as many pairs as the square of them."""
    opening = list(range(12))
    rng = np.random.default_rng(2)
    samples = [[*opening, *rng.integers(50, 30_000, 30).tolist()] for _ in range(300)]
    documents = [[*opening, *rng.integers(50, 30_000, 30).tolist()] for _ in range(3000)]
    documents[2900] = [1, *samples[7]]
    found = search(samples, documents)
    assert (found[7].longest, found[7].documents[0], found[7].share) == (42, "d2900", 1.0)
    others = {each.contaminated for number, each in enumerate(found) if number != 7}
    assert min(others) == 12
    assert max(others) <= 14, "a token behind it may be the same by chance"


@pytest.mark.conformance("evaluation items in the training data", equation="models.algorithms.overlap:OverlapSearch")
def test_planted_samples_are_found_verbatim_and_with_four_tokens_changed_and_unrelated_text_is_not() -> None:
    rng = np.random.default_rng(3)
    weights = 1 / np.arange(1, 5001)
    weights /= weights.sum()  # words as they are in texts: few are often said

    def text(length: int) -> list[int]:
        drawn: list[int] = rng.choice(5000, length, p=weights).tolist()
        return drawn

    samples = [text(60) for _ in range(900)]
    changed = [list(sample) for sample in samples[300:600]]
    for sample in changed:
        for place in rng.choice(60, 4, replace=False):
            sample[int(place)] = 5001
    planted = [[*text(100), *sample, *text(100)] for sample in (*samples[:300], *changed)]
    found = search(samples, [*(text(260) for _ in range(3000)), *planted])
    assert [each.share for each in found[:300]] == [1.0] * 300
    assert np.mean([each.share >= 0.2 for each in found[300:600]]) >= 0.95
    assert np.mean([each.share > 0 for each in found[600:]]) < 0.01
