import random
import re
import statistics
from collections import Counter
from itertools import combinations

import pytest

from tests.world.conftest import DOCUMENTS
from world.content import World
from world.defects import DEFECT_SHARES, alter, long_page
from world.documents import CorpusWriter, make_documents


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def jaccard(left: str, right: str) -> float:
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b)


@pytest.fixture
def texts_of(documents: list[dict[str, str]], truth: dict[str, str]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {kind: [] for kind in DEFECT_SHARES}
    for row in documents:
        if row["doc_id"] in truth:
            texts[truth[row["doc_id"]]].append(row["text"])
    return texts


@pytest.mark.slow
def test_defects_are_six_percent_of_the_corpus_in_their_shares(
    documents: list[dict[str, str]], truth: dict[str, str]
) -> None:
    assert len(documents) == DOCUMENTS + len(truth)
    assert len(truth) / len(documents) == pytest.approx(0.06, abs=0.0005)
    counts = Counter(truth.values())
    assert {kind: count / len(truth) for kind, count in counts.items()} == pytest.approx(DEFECT_SHARES, abs=0.005)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_another_share_of_defects_is_kept_too(world: World, share: float) -> None:
    rows = make_documents(world, 1_000, seed=0, defect_share=share)
    assert 1 - 1_000 / len(rows) == pytest.approx(share, abs=0.005)


def test_an_exact_duplicate_equals_exactly_one_earlier_clean_document(
    documents: list[dict[str, str]], truth: dict[str, str]
) -> None:
    first: dict[str, str] = {}
    copies = 0
    for row in documents:
        if truth.get(row["doc_id"]) == "exact_duplicate":
            assert first[row["text"]] not in truth
            copies += 1
        elif row["doc_id"] not in truth:
            assert row["text"] not in first
        first.setdefault(row["text"], row["doc_id"])
    assert copies == 255


@pytest.mark.slow
def test_a_near_duplicate_is_near_one_earlier_clean_page_and_hardly_ever_equal_to_it(
    documents: list[dict[str, str]], truth: dict[str, str]
) -> None:
    pages: list[str] = []
    near = equal = 0
    for row in documents:
        if truth.get(row["doc_id"]) == "near_duplicate":
            assert sum(jaccard(row["text"], page) >= 0.5 for page in pages) == 1
            equal += row["text"] in pages  # two versions of a page may get the same filler at the same place
            near += 1
        elif row["doc_id"] not in truth and len(row["text"].split()) >= 40:
            pages.append(row["text"])
    assert near == 3 * len(pages) == 228
    assert equal <= 2


def test_long_clean_pages_are_not_near_one_another(world: World) -> None:
    rng = random.Random(0)
    writer = CorpusWriter(world, rng)
    pages = [long_page(writer.write, rng) for _ in range(60)]
    assert max(jaccard(left, right) for left, right in combinations(pages, 2)) < 0.25
    assert all(50 <= len(page.split()) <= 100 for page in pages)


def test_near_duplicates_of_one_page_are_near_the_page() -> None:
    rng = random.Random(0)
    page = " ".join(f"word{number}" for number in range(60))
    altered = [alter(page, rng) for _ in range(200)]
    assert {len(text.split()) for text in altered} == {61}
    # 56 five-grams; a word put in inside breaks 4 of them and makes 5: 52 / 61.
    assert statistics.mode(round(jaccard(page, text), 4) for text in altered) == round(52 / 61, 4)


def test_web_like_defects_are_long_and_clean_documents_are_not(texts_of: dict[str, list[str]]) -> None:
    for kind in ("near_duplicate", "boilerplate", "personal_data", "garbage", "other_language", "unsafe_text"):
        lengths = [len(text.split()) for text in texts_of[kind]]
        assert min(lengths) >= 38
        assert max(lengths) <= 110
    assert max(len(text.split()) for text in texts_of["too_short"]) <= 2


def test_each_kind_shows_what_it_is_named_for(texts_of: dict[str, list[str]]) -> None:
    for text in texts_of["personal_data"]:
        assert len(re.findall(r"\b[a-z]+\.[a-z]+\d+@example\.com\b", text)) == 3
        assert len(re.findall(r"\b212-555-01\d\d\b", text)) == 3
    for text in texts_of["garbage"]:
        letters = sum(character.isalpha() or character.isspace() for character in text)
        assert letters / len(text) < 0.85
    scripts = Counter(bool(re.search(r"[가-힣]", text)) for text in texts_of["other_language"])
    assert 0.1 < scripts[True] / scripts.total() < 0.45
    assert all(re.search(r"\b(?:porn|fucking|nude|naked|xxx)\b", text) for text in texts_of["unsafe_text"])
    assert all(re.fullmatch(r"home \| .* all rights reserved\.", text) for text in texts_of["boilerplate"])


def test_marks_of_defects_do_not_occur_in_clean_documents(clean_texts: list[str]) -> None:
    allowed = re.compile(r"[a-z .,!?:]+")
    assert [text for text in clean_texts if not allowed.fullmatch(text)] == []
