"""A source of which the filter has left nothing stops the run, with the rules that dropped it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from data_store.corpus.counts import OTHER_SOURCES
from flows.mixed import _emptied
from models.mix_config import SourceFiles
from tests.flows.recipe_runs import Home
from tests.flows.test_continued_pretraining import korean
from tests.flows.test_quality import write
from tests.tasks.test_train_quality_classifier import GARDEN, texts

SOURCES = (SourceFiles(name="web", files=("web*",)), SourceFiles(name="books", files=("*.txt",)))


def stage(source: str, place: int, name: str, before: int, after: int) -> dict[str, object]:
    return {"source": source, "place": place, "stage": name, "documents_before": before, "documents_after": after}


def test_a_source_that_lost_all_of_its_files_is_named_with_its_rules_and_one_that_kept_a_document_is_not() -> None:
    stages = [
        stage("web-1.jsonl", 1, "too_short", 10, 8),
        stage("web-1.jsonl", 0, "mended", 10, 10),
        stage("web-1.jsonl", 2, "other_language", 8, 0),
        stage("web-2.jsonl", 0, "mended", 2, 2),
        stage("web-2.jsonl", 1, "other_language", 2, 0),
        stage("a.txt", 0, "mended", 5, 5),
        stage("a.txt", 1, "too_short", 5, 0),
        stage("b.txt", 0, "mended", 5, 5),
        stage("b.txt", 1, "too_short", 5, 1),
    ]
    assert list(_emptied(SOURCES, stages)) == [
        "mix.sources: web: the filter kept none of its 12 documents (other_language 10, too_short 2): loosen `filter`, "
        "such as filter.languages, or take the source out"
    ]
    assert list(_emptied(SOURCES, [*stages, stage(OTHER_SOURCES, 0, "mended", 1, 1)])) == []


@pytest.mark.slow
def test_a_run_whose_filter_drops_a_source_ends_before_its_tokenizer_and_says_why(tmp_path: Path, server: str) -> None:
    write(tmp_path / "en.jsonl", texts("almanac", GARDEN, 60))
    write(tmp_path / "ko.jsonl", korean(30))
    content = {
        "name": "mixed",
        "iterations": 0,
        "data": {"documents": ["en.jsonl", "ko.jsonl"]},
        "filter": {"near_duplicate_similarity": 1.0},
        "mix": {
            "sources": [
                {"name": "old", "files": ["en.jsonl"], "weight": 1},
                {"name": "korean", "files": ["ko.jsonl"], "weight": 1},
            ]
        },
    }
    config = tmp_path / "mixed.yaml"
    config.write_text(yaml.safe_dump(content))
    home = replace(Home(tmp_path / "home", name="mixed"), server=server)
    run = home.halter("run", config, "--json")
    assert run.code == 2, run.err
    assert "mix.sources: korean: the filter kept none of its 30 documents (other_language 30)" in run.err
    assert "ko.jsonl: 0 of 30 documents are kept (other_language 30)" in run.out + run.err
    assert not list((tmp_path / "home").rglob("tokenizer.model"))
