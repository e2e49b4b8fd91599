"""What a corpus is made of, counted by hand."""

from collections import Counter

import pytest

from data_store.corpus.batch import Batch
from data_store.corpus.describing import ANY, Shares, language_in, listed_words, words_in
from data_store.rows import ROW_KINDS

KOREAN = "그녀는 어제 호숫가를 따라 오랫동안 산책을 했고 우리는 정원의 오래된 나무 아래에서 그들을 기다렸습니다."
ENGLISH = "The keeper of the lamp walked down to the harbor and asked whether the ship from the north was late again."
GERMAN = "Der Hund schläft unter dem alten Baum und wir haben gestern einen langen Spaziergang am See gemacht."
CODE = "import os\n\n\ndef total(values):\n    result = 0\n    for value in values:\n        result += value\n"


def batch(*texts: str) -> Batch:
    return Batch([f"d{n}" for n in range(len(texts))], texts, [{} for _ in texts], 20_000)


def named(text: str) -> set[tuple[str, str]]:
    """(axis, name) of all that is found in a text."""
    (holds,) = words_in(batch(text)).tolist()
    return {(word.axis, word.name) for word, is_there in zip(listed_words(), holds, strict=True) if is_there}


@pytest.mark.conformance(
    "shares of a corpus that part of a word or one file decides", equation="data_store.corpus.describing:words_in"
)
def test_a_word_counts_for_its_name_and_for_its_axis_whatever_its_letters_and_its_neighbours() -> None:
    assert named("HERS, not mine.") == {
        ("gender", "she"), ("gender", ANY), ("person", "1st"), ("person", "3rd"), ("person", ANY),
    }  # fmt: skip
    assert named("A Christian and a Hindu") == {("religion", "christian"), ("religion", "hindu"), ("religion", ANY)}
    assert named("The theme of other sheets: hermit, whereby.") == set(), "parts of words are none"


@pytest.mark.conformance(
    "shares of a corpus that part of a word or one file decides", equation="data_store.corpus.describing:words_in"
)
def test_korean_words_are_known_by_their_beginnings() -> None:
    assert named(KOREAN) == {("gender", "she"), ("gender", ANY), ("person", "1st"), ("person", "3rd"), ("person", ANY)}
    assert named("저기 불교를 믿는 한국인들이") == {
        ("religion", "buddhist"), ("religion", ANY), ("nationality", "korean"), ("nationality", ANY),
    }  # fmt: skip
    assert named("비그녀") == set(), "the middle of a word is no beginning"


@pytest.mark.parametrize(
    ("text", "language"),
    [(ENGLISH, "en"), (GERMAN, "de"), (KOREAN, "ko"), (CODE, "code"), ("", "unknown")],
)
def test_languages_are_told_as_table_10_tells_them(text: str, language: str) -> None:
    assert language_in(batch(text), 0) == language


def test_shares_are_counted_for_all_files_and_for_each() -> None:
    shares = Shares()
    shares.add(batch(ENGLISH, f"She said: {ENGLISH}", CODE), ["a", "b", "b"])
    shares.add(batch(KOREAN), ["a"])
    assert shares.sampled == Counter({"": 4, "a": 2, "b": 2})
    rows = {(row["source"], row["about"], row["axis"], row["name"]): row for row in shares.rows()}
    of_all = {
        name: row["documents"] for (file, about, _, name), row in rows.items() if not file and about == "language"
    }
    assert of_all == {"en": 2, "ko": 1, "code": 1}
    she = {file: rows[file, "pronoun", "gender", "she"] for file in ("", "b")}
    assert {file: (row["documents"], row["sampled"]) for file, row in she.items()} == {"": (2, 4), "b": (1, 2)}
    assert rows["", "term", "religion", "jewish"]["documents"] == 0, "of all files what was never found is said, too"
    assert ("a", "term", "religion", "jewish") not in rows
    assert all(set(row) == set(ROW_KINDS["corpus_share"].schema.names) for row in rows.values())


def test_listed_words_are_single_words_in_small_letters_and_none_stands_twice_in_a_name() -> None:
    for word in listed_words():
        forms = (*word.forms, *word.beginnings)
        assert len(set(forms)) == len(forms) > 0
        assert all(form == form.lower() and form.isalpha() for form in forms), word
