"""The step that counts what a corpus is made of: its sample, its estimates and what it writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.config import TokenizerConfig
from models.tokenizer import train_tokenizer
from tasks.answers import open_renderer
from tasks.describe_corpus import DescribeConfig, describe_corpus, share_of, tokens_of
from tests.tasks.bench import step_run, written

SENTENCE = "The keeper of the lamp walked down to the harbor and asked whether the ship from the north was late again."
SHE = "Then she went back to the house and told her sister what the old man had said about the boats in the bay."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([SENTENCE, SHE] * 20, folder, TokenizerConfig(vocab_size=300), seed=1)
    return folder


def stage(source: str, documents: int, characters: int, place: int = 0, name: str = "mended") -> dict[str, Any]:
    both = {
        f"{what}_{when}": n
        for what, n in (("documents", documents), ("characters", characters))
        for when in ("before", "after")
    }
    return {"source": source, "place": place, "stage": name, **both}


def stages(file: str, left: int) -> list[dict[str, Any]]:
    """The last stage first: the store keeps rows in an order of its own."""
    return [stage(file, 1, left, 1, "too_short"), stage(file, 2, 3 * left)]


def described(folder: Path, tokenizer: Path, documents: list[dict[str, Any]], config: DescribeConfig) -> Any:
    files = {row["source"].rpartition(":")[0]: 0 for row in documents}
    for row in documents:
        files[row["source"].rpartition(":")[0]] += len(row["text"])
    example = {"doc_id": "x", "source": "a:9", "reason": "too_short", "detail": "2 words", "beginning": "too short"}
    inputs: dict[str, Any] = {
        "corpus": ("document", documents),
        "counts": ("corpus_stage", [row for file, left in files.items() for row in stages(file, left)]),
        "examples": ("dropped_example", [example]),
        "tokenizer": tokenizer,
    }
    return describe_corpus.function(step_run(folder, inputs=inputs, outputs=describe_corpus.outputs), config)


def rows(*texts: str) -> list[dict[str, Any]]:
    return [{"doc_id": f"d{n}", "source": f"{'ab'[n % 2]}:{n}", "text": text} for n, text in enumerate(texts)]


def test_all_documents_of_a_small_corpus_are_counted(tmp_path: Path, tokenizer: Path) -> None:
    documents = rows(SENTENCE, SHE, SENTENCE)
    metrics = described(tmp_path, tokenizer, documents, DescribeConfig())
    tokens = [len(ids) for ids in open_renderer(tokenizer).documents([row["text"] for row in documents])]
    assert metrics["sampled"] == 3
    assert metrics["tokens"] == pytest.approx(sum(tokens)), "where all are looked at nothing is estimated"
    assert metrics["tokens_per_character"] == pytest.approx(sum(tokens) / (2 * len(SENTENCE) + len(SHE)))
    assert metrics["languages"] == 1
    assert (metrics["unknown_language"].value, metrics["unknown_language"].n) == (0, 3)
    assert metrics["unknown_language"].judge == "fastText lid.176"
    assert set(metrics) == set(describe_corpus.measures(None))  # type: ignore[arg-type]

    she = [row for row in written(tmp_path, "shares") if (row["axis"], row["name"]) == ("gender", "she")]
    assert [(row["source"], row["documents"], row["sampled"]) for row in she] == [("", 1, 3), ("b", 1, 1)]
    report = json.loads((tmp_path / "out" / "report" / "corpus.json").read_text())
    (told,) = (row for row in report["shares"] if row["about"] == "language" and row["source"] == "")
    assert (told["name"], told["value"], told["n"], told["judge"]) == ("en", 1.0, 3, "fastText lid.176")
    assert report["examples"][0]["beginning"] == "too short"
    tables = {path.stem for path in tmp_path.rglob("tables/*.json")}
    assert tables == {"stages", "languages", "pronouns", "terms"}


@pytest.mark.conformance(
    "shares of a corpus that part of a word or one file decides", equation="tasks.describe_corpus:describe_corpus"
)
def test_of_a_large_corpus_every_so_many_th_document_is_looked_at(tmp_path: Path, tokenizer: Path) -> None:
    documents = rows(*(SHE if n % 3 == 0 else SENTENCE for n in range(300)))
    metrics = described(tmp_path, tokenizer, documents, DescribeConfig(documents=100))
    assert metrics["sampled"] == 100
    (she,) = (r for r in written(tmp_path, "shares") if (r["source"], r["axis"], r["name"]) == ("", "gender", "she"))
    assert (she["documents"], she["sampled"]) == (100, 100), "the third, the sixth … document"


def test_tokens_of_a_file_without_a_sampled_document_are_those_of_the_others() -> None:
    counts = [stage(file, 1, 100) for file in ("a", "b", "c")]
    assert tokens_of(counts, {"a": [(10, 40), (20, 60)], "b": [(30, 60)]}) == {"a": 0.3, "b": 0.5, "c": 60 / 160}


def test_a_share_has_an_interval_also_where_nothing_was_found() -> None:
    nothing = share_of(0, 20_000)
    assert (nothing.value, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(0.000192, abs=1e-6)  # z² / (n + z²)
