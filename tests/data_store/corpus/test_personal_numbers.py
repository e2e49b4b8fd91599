"""The quick searches find what the plain expressions find."""

import random
import re
from collections.abc import Iterable
from typing import Any

import pytest

from data_store.corpus.personal_numbers import _ACCOUNT, _ADDRESS6, _DIGITS_APART, _accounts, _colon_groups, _outline

PIECES = ("DE", "Ab", "12", "８９", "٣", "1", "0a", "é", "가", "𝟙", ":", " ", "-", "(", ".", "8 37")
ACCOUNTS = ("DE", "GB", "12", "٣٣", "AB12", " ", "3704", "x")
GROUPS = ("a", "1", "0fe", "g", ":", "::", ":1:", "beef")


def spans(matches: Iterable[re.Match[Any]]) -> list[tuple[int, int]]:
    return [each.span() for each in matches]


@pytest.mark.parametrize("seed", range(8))
def test_accounts_rows_of_digits_and_groups_with_colons_are_those_of_the_expressions(seed: int) -> None:
    rng, met = random.Random(seed), [0, 0, 0]
    for _ in range(300):
        text = "".join(rng.choices(rng.choice((PIECES, ACCOUNTS, GROUPS)), k=rng.randint(0, 60)))
        outline = _outline(text)
        plain = [spans(each.finditer(text)) for each in (_ACCOUNT, re.compile(r"\d[\d .()-]{6,}"), _ADDRESS6)]
        quick = _accounts(text, outline), _DIGITS_APART.finditer(outline), _colon_groups(text)
        assert [spans(each) for each in quick] == plain
        met = [before + len(found) for before, found in zip(met, plain, strict=True)]
    assert min(met) > 2
