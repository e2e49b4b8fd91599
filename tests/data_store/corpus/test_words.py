"""Words and signs of whole batches are what a look at each character finds."""

import random
import re
from itertools import groupby

import numpy as np
import pytest

from data_store.corpus.batch import Batch
from data_store.corpus.signs import JAMO, LETTERS, N_SORTS, NUMBER, SPACE, code_points, sorts_of
from data_store.corpus.words import Words, again, is_among, ordered_sums, sums

ALPHABET = "aab1é가나다ㅋㅋ漢か\n\n  .-!!♥"
WORD = re.compile(r"[漢か]|[^\W_漢か]+")


def texts_of(seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(ALPHABET, k=rng.choice([0, 1, 7, 300]))) for _ in range(12)]


@pytest.mark.parametrize("seed", range(4))
def test_words_their_lengths_lines_and_syllables_are_those_that_one_reads(seed: int) -> None:
    texts = texts_of(seed)
    words, known = Words(texts), dict[str, int]()
    lines_before = 0
    for index, text in enumerate(texts):
        mine = words.of(index)
        read = list(WORD.finditer(text))
        assert words.lengths[mine].tolist() == [len(each[0]) for each in read]
        assert words.syllables[mine].tolist() == [sum("가" <= sign <= "힣" for sign in each[0]) for each in read]
        mixed = [bool(re.search("[가-힣]", each[0]) and re.search(r"[a-zA-Zé\d]", each[0])) for each in read]
        assert words.is_mixed[mine].tolist() == mixed
        assert words.is_jamo[mine].tolist() == [set(each[0]) == {"ㅋ"} for each in read]
        lines = [lines_before + text[: each.start()].count("\n") for each in read]
        assert words.lines[mine].tolist() == lines
        lines_before += text.count("\n") + 1
        for each, value in zip(read, words.hashes[mine].tolist(), strict=True):
            assert known.setdefault(each[0], value) == value
    assert len(set(known.values())) == len(known), "different words, different hashes"


def test_a_word_of_more_letters_than_there_are_multipliers_keeps_its_hash_wherever_it_stands() -> None:
    long = "ab" * 150
    alone, behind = Words([long]).hashes, Words(["one two", f"x {long} y"]).hashes
    assert alone[0] == behind[3]
    assert Words(["ab" * 149 + "ba"]).hashes[0] != alone[0]


def test_stretches_have_one_hash_by_their_words_and_the_order_of_these() -> None:
    hashes = Words(["a b c a b c b a c"]).hashes
    first, second, third = ordered_sums(hashes, np.array([0, 3, 6])).tolist()
    assert first == second != third


def test_sums_of_stretches_go_around_at_two_to_the_64() -> None:
    values = np.array([2**64 - 1, 2, 5, 7], np.uint64)
    assert sums(values, np.array([0, 2, 3])).tolist() == [1, 5, 7]
    assert sums(values[:0], np.array([], np.int64)).tolist() == []


def test_what_is_among_the_chosen_is_told_by_all_bits() -> None:
    chosen = np.array([5, 1 << 40], np.uint64)
    hashes = np.array([5, 5 + (1 << 20), 1 << 40, 0, 1 << 41], np.uint64)
    assert is_among(hashes, chosen).tolist() == [True, False, True, False, False]
    assert not is_among(hashes, chosen[:0]).any()
    assert again(np.array([3, 1, 3, 3], np.uint64)).tolist() == [False, False, True, True]


@pytest.mark.parametrize("seed", range(4))
def test_signs_are_counted_one_by_one_and_a_row_of_one_symbol_once(seed: int) -> None:
    texts = texts_of(seed)
    batch = Batch([str(n) for n in range(len(texts))], texts, [{} for _ in texts], 20_000)
    for index, text in enumerate(texts):
        sorts = sorts_of(code_points(text)).tolist()
        counts, longest = [0] * N_SORTS, 0
        for (sort, _), row in groupby(zip(sorts, text, strict=True)):
            length = len(list(row))
            counts[sort] += length if sort in (*LETTERS, NUMBER, SPACE) else 1
            longest = max(longest, length if sort in (*LETTERS, NUMBER) and sort != JAMO else 0)
        assert [int(batch.signs(sort)[index]) for sort in range(N_SORTS)] == counts
        assert batch.longest_run[index] == longest


def test_expressions_are_counted_in_the_text_as_it_is_written() -> None:
    batch = Batch(["a", "b", "c"], ["Ein Übel, übel", "", "가 나 가"], [{}, {}, {}], 20_000)
    assert batch.count("übel").tolist() == [1, 0, 0]
    assert batch.count("übel", lower=True).tolist() == [2, 0, 0]
    assert batch.count("가").tolist() == [0, 0, 2]
