"""What the filter makes on several processes is what it makes on one: documents, order, reasons, counts, examples."""

import random
from collections.abc import Sequence
from typing import Any

import psutil
import pyarrow as pa
import pytest

from data_store.corpus import filtering
from data_store.corpus.counts import FilterCounts
from data_store.corpus.filtering import filter_documents, processes_for
from data_store.corpus.quality import QualityJudge
from data_store.corpus.registry import FilterConfig, FilterSectionConfig
from data_store.errors import InputError
from data_store.rows import row_kind
from tests.data_store.corpus.test_filtering import CODE, ENGLISH, GERMAN, KOREAN, prose

SMALL = 1_000_000
"""Bytes a character, so that groups are of 128 characters: some documents each."""


def rows(texts: Sequence[str | None]) -> pa.Table:
    ids = [f"d{n}" for n in range(len(texts))]
    sources = [f"{'ab'[n % 3 == 0]}.jsonl:{n}" for n in range(len(texts))]
    return pa.table({"doc_id": ids, "source": sources, "text": pa.array(texts, pa.string())})


def filtered(
    table: pa.Table, processes: int, *, at_once: int = 5, quality: QualityJudge | None = None, **config: Any
) -> tuple[list[dict[str, str]], list[dict[str, str]], FilterCounts, list[list[tuple[str, int]]]]:
    """Kept and dropped rows, the counts, and the reasons of each file in the order in which tables tell them."""
    kept, dropped = list[dict[str, str]](), list[dict[str, str]]()

    def write(stay: pa.Table, go: pa.Table) -> None:
        assert stay.schema == row_kind("document").schema
        kept.extend(stay.to_pylist())
        dropped.extend(go.to_pylist())

    batches = table.to_batches(max_chunksize=at_once)
    counts = filter_documents(batches, FilterConfig(**config), write, quality, processes)
    assert psutil.Process().children() == []
    return kept, dropped, counts, [of.dropped.most_common() for of in counts.sources.values()]


def many_texts() -> list[str]:
    """Of each reason some, duplicates of all kinds far apart and near."""
    rng = random.Random(3)
    texts = [prose(rng.randint(40, 60), number % 12) for number in range(24)]
    texts += [f"{text} again" for text in texts[:6]]
    kinds = [GERMAN, KOREAN, CODE, "too short", "word " * 50, f"fuck {ENGLISH} shit bitch"]
    for text in [*kinds * 2, f"{ENGLISH} Write to ann@example.com."]:
        texts.insert(rng.randrange(len(texts)), text)
    return texts


@pytest.mark.conformance(
    "a document that repeats one which another process judges is kept",
    equation="data_store.corpus.processes:in_order",
)
def test_a_duplicate_across_the_border_of_two_processes_is_dropped_whichever_is_done_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Groups of one document each: no process sees two of them."""
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", 100 * SMALL)
    long = prose(60, 5)
    texts = [ENGLISH, long, ENGLISH.upper(), f"{long} again", ENGLISH]
    kept, dropped, counts, _ = filtered(rows(texts), 3)
    assert [row["doc_id"] for row in kept] == ["d0", "d1"]
    assert [(row["doc_id"], row["reason"], row["detail"]) for row in dropped] == [
        ("d2", "exact_duplicate", "of d0"),
        ("d3", "near_duplicate", "of d1"),
        ("d4", "exact_duplicate", "of d0"),
    ]
    assert (counts.documents, counts.kept) == (5, 2)


def test_three_processes_make_what_one_makes_of_documents_of_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(many_texts())
    alone = filtered(table, 1)
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", SMALL)
    together = filtered(table, 3)
    assert together == alone
    reasons = {reason for reason, count in alone[2].dropped.items() if count}
    assert {"too_short", "garbage", "other_language", "blocked_words", "exact_duplicate", "near_duplicate"} <= reasons
    assert alone[2].changed["email"] == 1, "of those that stay"


def test_documents_that_no_classifier_of_quality_knows_are_counted_over_all_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = QualityJudge({"en": lambda texts: [0.25 if "garden" in text else 0.75 for text in texts]}, {"en": 0.5})
    table = rows([GERMAN.replace("Hund", f"Hund{n}") for n in range(6)] + [ENGLISH, f"In the garden. {ENGLISH}"])
    alone = filtered(table, 1, quality=judge, languages=("en", "de"))
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", SMALL)
    assert filtered(table, 3, quality=judge, languages=("en", "de")) == alone
    assert alone[2].left_alone == {"de": 6}
    assert alone[2].dropped["low_quality"] == 1


def test_a_bad_row_in_the_middle_is_named_and_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", SMALL)
    texts: list[str | None] = [prose(30, n) for n in range(20)]
    texts[13] = None
    for processes in (1, 3):
        with pytest.raises(InputError, match="row 13 of the corpus: field 'text' is empty"):
            filtered(rows(texts), processes)
        assert psutil.Process().children() == []


def test_an_empty_corpus_and_one_of_fewer_documents_than_processes_end_as_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filtering, "_BYTES_A_CHARACTER", 100 * SMALL)
    with pytest.raises(InputError, match=r"kept none of 0 documents \(there were none\)"):
        filtered(rows([]), 3)
    two = rows([ENGLISH, prose(30, 1)])
    assert filtered(two, 8) == filtered(two, 1)
    assert filtered(two, 8)[2].kept == 2


def test_processes_are_as_many_as_said_else_as_processors_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(32)))
    assert processes_for(24, FilterConfig()) == 24
    assert processes_for(None, FilterConfig(memory_mb=64)) == 1
    assert processes_for(None, FilterConfig()) == 4
    assert processes_for(None, FilterConfig(memory_mb=10_000)) == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3})
    assert processes_for(None, FilterConfig()) == 2


def test_the_number_of_processes_is_no_part_of_what_the_step_is_told_to_do() -> None:
    assert set(FilterSectionConfig.model_fields) - set(FilterConfig.model_fields) == {"processes"}
