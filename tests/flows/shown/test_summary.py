"""Figures bear the name of the judge that made them, and say where they no longer hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_store.estimate import Estimate
from flows.recipe.config import RunConfig
from flows.session import remember, session_of
from flows.shown.artifact_index import index_key, index_page
from flows.shown.status import status_cells
from flows.shown.summary import (
    COLUMNS,
    NO_JUDGE,
    Row,
    judge_of,
    judged_by,
    legend,
    meanings,
    outdated,
    summary_rows,
    tables_of,
)
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
    nobody: Row = {**row("V1", judge="reward models"), "judges": ("big",)}
    assert judged_by([nobody]) == (
        "no annotator: judged by the run's own reward models; what ends with @ is judged by big, which nothing was "
        "trained on"
    )


def measured(n: int, low: float | None, high: float | None, judge: str | None = None) -> dict[str, Any]:
    return Estimate(0.5, n, low, high, judge).as_json()


def test_every_table_fits_a_page_and_together_they_hold_every_figure_once() -> None:
    wide = {metric.name: measured(12, 0.123, 0.987) for metric in COLUMNS.values()}
    rows = [row("V10 before PPO", state="tainted"), row("V10 + PPO", judge="reward models")]
    for tables in (tables_of(rows), tables_of([{**each, "estimates": wide} for each in rows])):
        assert all(map(fits, tables))
        assert len(tables) > 1
        shown = [name for table in tables for name in table[0] if name != "policy"]
        assert sorted(shown) == sorted(set(rows[0]) - {"policy", "why", "judge"})
        assert {"policy", "state", "win help"} <= set(tables[0][0])
    assert {name for name, _ in meanings()} == set(rows[0]) - {"policy", "why", "judge"}
    assert not any("reward win" in table[0] for table in tables_of([row("V0", **{"reward win": "–"})]))
    assert tables_of([]) == []


@pytest.mark.conformance("a figure without its interval", equation="flows.shown.summary:tables_of")
def test_a_figure_stands_with_its_interval_and_is_marked_where_it_is_of_few_or_no_better_than_chance() -> None:
    estimates = {
        "win_rate/helpfulness": measured(200, 0.43, 0.57, "simulated:little-world"),
        "false_refusal": measured(7, 0.01, 0.355, "simulated:little-world"),
        "kl_to_sft": measured(1, None, None),
        "accuracy/helpfulness/all": measured(40, 0.5, 0.9, "anna | bo"),
        "accuracy/safety/all": measured(40, 0.51, 0.9, "anna | bo"),
    }
    alone = {**row("V1"), "estimates": estimates}
    shown = {name: value for table in tables_of([alone]) for name, value in table[0].items()}
    assert shown["win help"] == "0.50 .43–.57"
    assert shown["false refusal %"] == "0.50 1.0–35.5 few"
    assert shown["KL"] == "0.50 few", "of one there is no interval"
    assert shown["RM acc help"] == "0.50 .50–.90 chance"
    assert shown["RM acc safe"] == "0.50 .51–.90"
    assert shown["win safe"] == "0.50", "of before intervals were kept"
    assert legend([alone]) == [
        "with 95 % intervals; n is 200: win help; 7: false refusal %; 40: RM acc help, RM acc safe; 1: KL",
        "by `simulated:little-world`: win help, false refusal %",
        "by `anna / bo`: RM acc help, RM acc safe",
        "few: n is below 30",
        "chance: no better than guessing, as far as the interval tells",
    ]
    assert legend([row("V1")]) == []


def test_figures_of_a_judge_of_evaluations_bear_its_name_and_stand_only_where_it_judged() -> None:
    estimates = {"win_rate/safety@big": measured(40, 0.4, 0.6, "lm:big"), "kl_to_sft": measured(40, 1, 2)}
    judged: Row = {**row("V1"), "judges": ("big",), "win safe@big": "0.50", "estimates": estimates}
    rows: list[Row] = [{**row("V0"), "judges": ("big",), "win safe@big": "–"}, judged]
    shown = {name: [line[name] for line in table] for table in tables_of(rows) for name in table[0]}
    assert shown["win safe@big"] == ["–", "0.50 .40–.60"]
    assert "win help@big" not in shown, "of which nobody has anything"
    assert "by `lm:big`: win safe@big" in legend(rows)
    assert NO_JUDGE not in legend(rows)
    assert all(map(fits, tables_of(rows)))


def test_where_only_the_reward_models_judge_the_key_that_gives_another_judge_is_named() -> None:
    alone: Row = {**row("V1", judge="reward models"), "estimates": {"kl_to_sft": measured(40, 1, 2)}}
    assert NO_JUDGE in legend([alone])
    assert NO_JUDGE not in legend([{**alone, "judges": ("big",)}])
    assert NO_JUDGE not in legend([{**alone, "judge": "simulated, world 1"}])


def test_a_figure_that_is_of_other_numbers_in_other_policies_says_so() -> None:
    rows = [{**row(f"V{n}"), "estimates": {"violation": measured(n, 0.1, 0.2)}} for n in (90, 100)]
    assert legend(rows) == ["with 95 % intervals; n is 90–100: violation %"]


def test_an_index_marks_what_no_longer_holds() -> None:
    rows = [row("V1"), row("V2", state="stale")]
    assert outdated(rows) == ["V2 is stale: a newer model/policy@V2 is there"]
    assert outdated([{**row("V1", state="cancelled"), "why": ""}]) == ["V1 is cancelled"]
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
