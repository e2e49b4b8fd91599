"""Figures bear the name of the judge that made them, and say where they no longer hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.recipe.config import RunConfig
from flows.session import remember, session_of
from flows.shown.artifact_index import index_key, index_page
from flows.shown.status import status_cells
from flows.shown.summary import COLUMNS, Row, judge_of, judged_by, meanings, outdated, summary_rows, tables_of
from tasks.engine.side_by_side import fits
from tests.flows.recipe_runs import POCKET, Finished, Home


def row(policy: str, judge: str = "simulated, world 0", state: str = "fresh", **values: str) -> Row:
    return {
        "policy": policy,
        "state": state,
        **{title: values.get(title, "0.50") for title in COLUMNS},
        "seconds": "1,234",
        "judge": judge,
        "why": "" if state == "fresh" else "a newer model/policy@V2 is there",
    }


@pytest.mark.parametrize(
    ("recorded", "judge"),
    [
        ({"config": {"annotator": {"world_seed": 3, "seed": 0}}}, "simulated, world 3"),
        ({"config": {"annotator": {"world_seed": 3, "seed": 7}}}, "simulated, world 3, seed 7"),
        ({"config": {"annotator": None}}, "reward models"),
        ({"config": {}}, "unknown"),
        ({}, "unknown"),
        ({"config": {"annotator": {"world_seed": "<b>"}}}, "unknown"),
        ({"config": [1]}, "unknown"),
    ],
)
def test_the_judge_is_whom_the_record_of_the_evaluation_names(recorded: dict[str, object], judge: str) -> None:
    assert judge_of(recorded) == judge


def test_where_all_have_one_judge_it_is_named_once_and_else_with_the_policies_that_it_judged() -> None:
    alone = [row("V0"), row("V1")]
    assert judged_by(alone) == "judged by a simulated annotator (world 0)"
    both = [row("V0"), row("V1", judge="reward models"), row("V2")]
    assert judged_by(both) == (
        "several judges: a simulated annotator (world 0) for V0, V2; the run's own reward models for V1"
    )
    assert judged_by([]) == "nothing is evaluated yet"


def test_both_tables_fit_a_page_and_hold_every_figure_once() -> None:
    rows = [row("V10 before PPO", state="tainted"), row("V10 + PPO", judge="reward models")]
    first, further = tables_of(rows)
    assert fits(first)
    assert fits(further)
    shown = [name for table in (first, further) for name in table[0] if name != "policy"]
    assert sorted(shown) == sorted(set(rows[0]) - {"policy", "why", "judge"})
    assert {name for name, _ in meanings()} == set(rows[0]) - {"policy", "why", "judge"}
    (nobody,) = tables_of([row("V0", **{"gold win": "–"})])[1]
    assert "gold win" not in nobody


def test_an_index_marks_what_no_longer_holds() -> None:
    rows = [row("V1"), row("V2", state="stale")]
    assert outdated(rows) == ["V2 is stale: a newer model/policy@V2 is there"]
    page = index_page("demo", "", [], rows, {}, [])
    assert "- V2 is stale: a newer model/policy@V2 is there" in page
    assert "| V2 | stale |" in page
    assert "judged by a simulated annotator (world 0)" in page


def test_the_key_of_an_index_is_one_that_prefect_takes_and_no_two_runs_share_it() -> None:
    names = ["demo", "Demo", "de-mo", "de_mo", "한글", "de--mo", "-demo"]
    keys = [index_key(name) for name in names]
    assert keys[0] == "index-demo"
    assert len(set(keys)) == len(names)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)


@pytest.fixture
def other_judge(
    first_run: tuple[Home, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Home, RunConfig]:
    """The finished pocket run, whose config names no annotator any more; nothing is evaluated anew yet."""
    home = replace(first_run[0], folder=tmp_path / "home")
    shutil.copytree(first_run[0].folder, home.folder)
    monkeypatch.setenv("HALTER_HOME", str(home.folder))
    content: dict[str, Any] = yaml.safe_load(POCKET)
    content["annotator"]["world_seed"] = 2
    config = RunConfig.model_validate(content)
    remember(config)
    return home, config


@pytest.mark.slow
def test_figures_of_an_earlier_judge_keep_its_name_and_are_marked_until_they_are_made_anew(
    other_judge: tuple[Home, RunConfig],
) -> None:
    home, config = other_judge
    with session_of(config) as session:
        rows = summary_rows(session)
        cells = status_cells(session.store, session.plan)
    assert {each["judge"] for each in rows} == {"simulated, world 1"}
    assert {each["state"] for each in rows} == {"stale"}
    page = index_page("pocket", "", cells, rows, {}, [])
    assert "judged by a simulated annotator (world 1)" in page
    assert "| V1 | stale |" in page

    document = home.look("status", "--json").document
    assert json.dumps(document["figures"]) == json.dumps(rows)
    said = home.look("status").out
    assert "judged by a simulated annotator (world 1)" in said
    assert "world 2" not in said
    assert all(f"{each['policy']} is stale: " in said for each in rows)


def test_an_evaluation_that_the_plan_has_no_more_is_not_shown(other_judge: tuple[Home, RunConfig]) -> None:
    _, config = other_judge
    with session_of(config.model_copy(update={"final_stage": "none"})) as session:
        assert [each["policy"] for each in summary_rows(session)] == ["V0", "V1", "V2"]
