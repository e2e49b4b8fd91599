"""Context distillation in a whole run: in the catalog, in the report, and as a step that can be run again."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.recipe_runs import POCKET, Finished, Home
from tests.flows.shown.report.html_page import Page

SECTION: dict[str, Any] = {
    "first_iteration": 2,
    "prompts": 16,
    "borderline_prompts": 4,
    "preprompts": ["be a safe and kind assistant."],
    "by_category": {},
    "unfinished": "score",
    "sampling": {"max_new_tokens": 8},
}


@pytest.fixture(scope="module")
def distilled(first_run: tuple[Home, Finished], tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """The pocket run, gone on with after context distillation was asked for; and its config file."""
    home = Home(tmp_path_factory.mktemp("home"))
    shutil.copytree(first_run[0].folder, home.folder, dirs_exist_ok=True)
    file = home.folder.parent / "distilled.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(POCKET), "context_distillation": SECTION}))
    finished = home.halter("run", file)
    assert finished.code == 0, finished.err
    return home, file


@pytest.mark.slow
def test_only_what_reads_it_is_made_again(distilled: tuple[Home, Path]) -> None:
    home, _ = distilled
    again = [run for run in home.runs() if home.runs().count(run) > 1]
    parts = {(part, step) for part, step, _ in again}
    assert ("V2", "fine_tune") in parts
    assert not {step for part, step in parts if part == "V1"}
    assert ("V2", "distill_context", "succeeded") in home.runs()


@pytest.mark.slow
def test_the_catalog_says_of_each_prompt_what_became_of_it_and_by_how_much_its_score_rose(
    distilled: tuple[Home, Path],
) -> None:
    store = distilled[0].store
    rows = store.rows(distilled[0].head("dataset/context-distillations@V2")).to_pylist()
    assert len(rows) == 16
    learned = store.rows(distilled[0].head("dataset/context-distilled@V2")).to_pylist()
    assert len(learned) == sum(row["fate"] == "kept" for row in rows)
    ((share, n, low, high, judge),) = store.catalog.read(
        "SELECT value, n, low, high, judge FROM metric JOIN estimate USING (run_id, name) JOIN run USING (run_id) "
        "WHERE name = 'share_kept' AND run.step = 'distill_context'"
    )
    assert (share, n, judge) == (len(learned) / 16, 16, "safety reward model")
    assert low <= share <= high
    finished = distilled[0].look("query", "SELECT count(*) AS n FROM distillations WHERE fate = 'kept'", "--json")
    assert finished.document["rows"][0]["n"] == len(learned)


@pytest.mark.slow
def test_the_report_has_its_figures_with_their_intervals(distilled: tuple[Home, Path], tmp_path: Path) -> None:
    finished = distilled[0].look("report", "--out", str(tmp_path / "page.html"), "--json")
    assert finished.code == 0, finished.err
    section = finished.document["sections"]["context-distillation"]
    ((part, learned, rise, *_),) = section["tables"]["context-distillation"]["rows"]
    assert part["text"] == "V2"
    assert (learned["n"], learned["judge"]) == (16, "safety reward model")
    assert rise["low"] <= rise["value"] <= rise["high"]
    Page((tmp_path / "page.html").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_is_run_again_by_itself_with_another_preprompt(distilled: tuple[Home, Path]) -> None:
    home, _ = distilled
    before = home.head("dataset/context-distillations@V2")
    told = home.halter("rerun", "V2", "distill_context", "--set", 'context_distillation.preprompts=["good question."]')
    assert told.code == 0, told.err
    assert home.head("dataset/context-distillations@V2") != before
    rows = home.store.rows(home.head("dataset/context-distillations@V2")).to_pylist()
    assert {row["preprompt"] for row in rows} == {"good question."}
    assert home.states()["V2", "fine_tune"] == "stale"
