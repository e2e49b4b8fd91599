"""A quality classifier in a whole run: what it drops, where that is shown, what another source makes stale, and a run
that it stops."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.recipe_runs import POCKET, Home
from tests.tasks.test_train_quality_classifier import BARGAIN, GARDEN, GERMAN, planted, texts


def write(file: Path, rows: Sequence[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))


def config_in(folder: Path, sources: dict[str, list[str]]) -> Path:
    """A run that ends with the pretrained model; the first two sources are the positives."""
    for name, rows in sources.items():
        write(folder / f"{name}.jsonl", rows)
    given = [{"name": name, "files": [f"{name}.jsonl"]} for name in sources]
    content: dict[str, Any] = {
        key: value
        for key, value in yaml.safe_load(POCKET).items()
        if key in ("seed", "tokenizer", "model", "pretrain", "final_stage")
    }
    content |= {"name": "judged", "iterations": 0, "data": {"documents": ["documents.jsonl"]}}
    content["tokenizer"]["vocab_size"] = 340
    content["filter"] = {"near_duplicate_similarity": 1.0, "languages": ["en", "de"]}
    content["quality"] = {"languages": ["en"], "positives": given[:2], "negatives": given[2:]}
    file = folder / "judged.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.slow
def test_a_run_drops_what_is_like_the_negatives_shows_it_and_learns_anew_from_another_source(
    tmp_path: Path, server: str
) -> None:
    good, bad = texts("almanac", GARDEN, 60), texts("leaflet", BARGAIN, 20)
    write(tmp_path / "documents.jsonl", [*good, *bad, GERMAN])
    config = config_in(tmp_path, planted())
    home = replace(Home(tmp_path / "home", name="judged"), server=server)
    first = home.halter("run", config, "--json")
    assert first.code == 0, first.err

    kept = {row["text"] for row in home.store.rows(home.head("dataset/corpus@base")).to_pylist()}
    assert kept == {*good, GERMAN}
    dropped = home.store.rows(home.head("dataset/dropped@base")).to_pylist()
    assert [row["reason"] for row in dropped] == ["low_quality"] * 20
    told = json.loads((home.store.checkout(home.head("report/corpus@base")) / "corpus.json").read_text())
    assert [row["reason"] for row in told["examples"]] == ["low_quality"] * 20, "as many as of any reason"
    (stage,) = (row for row in told["stages"] if row["stage"] == "low_quality")
    assert (stage["documents_before"], stage["documents_after"]) == (81, 61)

    page = tmp_path / "page.html"
    report = home.look("report", "--json", "--out", str(page))
    assert report.code == 0, report.err
    assert BARGAIN in page.read_text()
    stages = [row[1].get("text") for row in report.document["sections"]["corpus"]["tables"]["stages"]["rows"]]
    assert stages == ["as read", "low_quality"]
    told = report.document["sections"]["corpus"]["tables"]["quality-sources"]["rows"]
    assert [(row[1]["text"], row[2]["value"], row[2]["n"]) for row in told] == [
        (name, 1.0, 25) for name in sorted(planted())
    ]
    lineage = home.look("lineage", "model/base@base")
    assert "classifier/quality@base" in lineage.out
    assert "spam.jsonl" in lineage.out
    asked = home.look("query", "--json", "SELECT name, value, n FROM metrics WHERE name LIKE 'auc/en/%' ORDER BY name")
    assert [(row["name"], row["value"], row["n"]) for row in asked.document["rows"]] == [
        (f"auc/en/{name}", 1.0, 25) for name in sorted(planted())
    ]

    write(tmp_path / "spam.jsonl", texts("pamphlet", BARGAIN))
    states = home.states()
    assert states["base", "train_quality_classifier"] == "stale"
    assert states["base", "import_data"] == "fresh"
    again = home.halter("run", config, "--json")
    assert again.code == 0, again.err
    assert [step for _, step, _ in home.runs()].count("filter_corpus") == 2
    assert [step for _, step, _ in home.runs()].count("import_data") == 1


@pytest.mark.slow
def test_a_run_stops_before_it_filters_where_held_out_sources_are_not_known(tmp_path: Path, server: str) -> None:
    write(tmp_path / "documents.jsonl", texts("almanac", GARDEN, 60))
    config = config_in(tmp_path, planted("was in the house", "was in the house"))
    home = replace(Home(tmp_path / "home", name="judged"), server=server)
    stopped = home.halter("run", config)
    assert stopped.code != 0
    assert "and 0.8 is needed before anything is filtered by it" in stopped.err
    assert "filter_corpus" not in {step for _, step, _ in home.runs()}
