"""The step: what it reads, writes and counts, piece by piece."""

import itertools
import json
from pathlib import Path

import pytest

from data_store.corpus.registry import CHANGED, REASONS, FilterConfig
from data_store.errors import InputError
from tasks.engine.step import NOTES
from tasks.filter_corpus import filter_corpus
from tests.tasks.bench import step_run, written

SENTENCE = "The keeper of the lamp walked down to the harbor and asked whether the ship from the north was late again."


def rows(*texts: str) -> list[dict[str, str]]:
    return [{"doc_id": f"d{n}", "source": f"a.jsonl:{n}", "text": text} for n, text in enumerate(texts)]


def test_kept_and_dropped_rows_are_written_and_every_metric_that_is_promised_is_given(tmp_path: Path) -> None:
    documents = rows(SENTENCE, "too short", f"{SENTENCE} Write to ann@example.com.", SENTENCE.upper())
    run = step_run(tmp_path, inputs={"documents": ("document", documents)}, outputs=filter_corpus.outputs)
    metrics = filter_corpus.function(run, FilterConfig())
    assert [row["text"] for row in written(tmp_path, "corpus")] == [SENTENCE, f"{SENTENCE} Write to <EMAIL>."]
    assert [(row["doc_id"], row["reason"], row["detail"]) for row in written(tmp_path, "dropped")] == [
        ("d1", "too_short", "2 words"),
        ("d3", "exact_duplicate", "of d0"),
    ]
    expected = {"documents": 4, "kept": 2, "dropped/too_short": 1, "dropped/exact_duplicate": 1, "changed/email": 1}
    assert {name: value for name, value in metrics.items() if value} == expected
    assert set(metrics) == {
        "documents",
        "kept",
        *(f"dropped/{reason}" for reason in REASONS),
        *(f"changed/{what}" for what in CHANGED),
    }


def test_each_file_is_counted_and_dropped_documents_are_shown_masked(tmp_path: Path) -> None:
    documents = [*rows(SENTENCE, "ann@example.com now"), {"doc_id": "z", "source": "b.jsonl:0", "text": "too short"}]
    run = step_run(tmp_path, inputs={"documents": ("document", documents)}, outputs=filter_corpus.outputs)
    filter_corpus.function(run, FilterConfig())
    tables = {path.stem: json.loads(path.read_text()) for path in tmp_path.rglob("tables/*.json")}
    assert [list(row.values()) for row in tables["sources"]] == [
        ["a.jsonl", 2, 1, 125, 106, "too_short 1"],
        ["b.jsonl", 1, 0, 9, 0, "too_short 1"],
    ]
    assert [row["begins"] for row in tables["examples"]] == ["<EMAIL> now", "too short"]
    assert [(row["source"], row["reason"], row["beginning"]) for row in written(tmp_path, "examples")] == [
        ("a.jsonl:1", "too_short", "<EMAIL> now"),
        ("b.jsonl:0", "too_short", "too short"),
    ]


@pytest.mark.conformance(
    "what a rule took away is counted before another rule",
    equation="data_store.corpus.counts:SourceCounts.stages",
)
def test_each_file_is_counted_before_and_after_each_stage(tmp_path: Path) -> None:
    """By hand: the sentence has 106 characters, the address 19 and 11 as masked, the shouted sentence 106."""
    documents = rows(SENTENCE, "ann@example.com now", SENTENCE.upper())
    run = step_run(tmp_path, inputs={"documents": ("document", documents)}, outputs=filter_corpus.outputs)
    filter_corpus.function(run, FilterConfig())
    found = written(tmp_path, "counts")
    assert [row["stage"] for row in found] == ["mended", *REASONS]
    assert [row["place"] for row in found] == list(range(1 + len(REASONS)))
    changed = {
        row["stage"]: tuple(
            row[f"{what}_{when}"] for what in ("documents", "characters") for when in ("before", "after")
        )
        for row in found
        if row["documents_before"] != row["documents_after"] or row["characters_before"] != row["characters_after"]
    }
    assert changed == {
        "mended": (3, 3, 231, 223),
        "too_short": (3, 2, 223, 212),
        "exact_duplicate": (2, 1, 212, 106),
    }
    for before, after in itertools.pairwise(found):
        assert (before["documents_after"], before["characters_after"]) == (
            after["documents_before"],
            after["characters_before"],
        )


def test_a_corpus_of_which_nothing_stays_stops_the_run(tmp_path: Path) -> None:
    run = step_run(tmp_path, inputs={"documents": ("document", rows("too short"))}, outputs=filter_corpus.outputs)
    with pytest.raises(InputError, match=r"kept none of 1 documents \(too_short 1\)"):
        filter_corpus.function(run, FilterConfig())


def test_a_file_that_lost_most_of_its_documents_is_told_with_its_reasons(tmp_path: Path) -> None:
    german = (
        "Der Hund schläft unter dem alten Baum und wir haben gestern einen langen Spaziergang am See gemacht, Nummer"
    )
    documents = [
        *({"doc_id": f"a{n}", "source": f"a.jsonl:{n}", "text": f"{german} {n}."} for n in range(24)),
        {"doc_id": "a", "source": "a.jsonl:24", "text": SENTENCE},
        *({"doc_id": f"b{n}", "source": f"b.jsonl:{n}", "text": "too short"} for n in range(19)),
    ]
    run = step_run(tmp_path, inputs={"documents": ("document", documents)}, outputs=filter_corpus.outputs)
    filter_corpus.function(run, FilterConfig())
    (notes,) = tmp_path.rglob(NOTES)
    assert [json.loads(line) for line in notes.read_text().splitlines()] == [
        "a.jsonl: 1 of 25 documents are kept (other_language 24)"
    ]
