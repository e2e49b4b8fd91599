"""A start that finds every step finished: what it says is what a start says that goes through all of them, and it opens
the catalog a few times, whatever the number of steps, and starts and imports nothing more."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.recipe.config import load_config
from flows.session import Session
from flows.up_to_date import figures_if_done, look
from tests.flows.recipe_runs import POCKET, Finished, Home, ask

HEAVY = ("prefect", "torch", "transformers", "pandas", "matplotlib", "fastapi")
OPENINGS = 3  # Store.open, the plan, the look


@pytest.fixture
def copy(first_run: tuple[Home, Finished], tmp_path: Path) -> Home:
    """A copy of the finished run that has no server, and of which Prefect knows nothing."""
    shutil.copytree(first_run[0].folder, tmp_path / "home", ignore=shutil.ignore_patterns(".prefect"))
    return replace(first_run[0], folder=tmp_path / "home")


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every opening of a catalog by this process."""
    opened: list[Any] = []
    connect = duckdb.connect

    def counting(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        opened.append(arguments)
        return connect(*arguments, **options)

    monkeypatch.setattr(duckdb, "connect", counting)
    return opened


@pytest.mark.parametrize("command", ["run", "status", "stale"])
def test_the_catalog_is_opened_a_few_times_and_not_for_each_step(
    copy: Home, pocket_file: Path, openings: list[Any], command: str
) -> None:
    finished = copy.look(command, *([str(pocket_file)] if command == "run" else []), "--json")
    assert finished.code == 0, finished.err
    assert 0 < len(openings) <= OPENINGS
    assert len(copy.states()) == 26, "steps"


@pytest.mark.slow
def test_nothing_is_started_imported_or_written(copy: Home, pocket_file: Path) -> None:
    before, seq = copy.runs(), copy.store.catalog.seq()
    for command in (["run", str(pocket_file)], ["status"], ["stale"]):
        done = _with_imports(copy, *command)
        imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.err.splitlines() if "|" in line}
        assert "flows" in imported
        assert not imported & set(HEAVY), command
    assert not (copy.folder / ".prefect").exists(), "no server has had a database here"
    assert copy.processes() == []
    assert (copy.runs(), copy.store.catalog.seq()) == (before, seq)
    assert list((copy.folder / "pocket" / "work").glob("*/")) == []


def _with_imports(home: Home, *arguments: str) -> Finished:
    command = [sys.executable, "-X", "importtime", "-m", "flows.cli", *arguments]
    done = subprocess.run(command, env=home.environment, capture_output=True, text=True, check=True)
    return Finished(done.returncode, done.stdout, done.stderr, 0.0)


@pytest.mark.slow
def test_what_it_prints_is_what_the_run_printed_that_went_through_all_steps(
    first_run: tuple[Home, Finished], copy: Home, pocket_file: Path
) -> None:
    finished = copy.halter("run", pocket_file, "--json")
    assert finished.code == 0, finished.err
    assert finished.document == first_run[1].document
    assert "pocket: 26 of 26 steps are finished" in finished.err
    assert "there is nothing to do, and no Prefect server was started" in finished.err


@pytest.mark.slow
def test_with_a_server_of_ones_own_people_see_the_same_table_and_prefect_the_run_without_its_steps(
    copy: Home, pocket_file: Path, server: str
) -> None:
    alone = copy.halter("run", pocket_file)
    recorded = replace(copy, server=server).halter("run", pocket_file)
    assert (alone.code, recorded.code) == (0, 0)
    tables = [re.findall(r"^[┏┃┡│└].*$", finished.out, flags=re.MULTILINE) for finished in (alone, recorded)]
    assert tables[0] == tables[1]
    assert any("win help" in line for line in tables[0])
    (newest,) = ask(server, "flow_runs/filter", sort="START_TIME_DESC", limit=1)
    assert (newest["name"], newest["state_type"], newest["state_name"]) == ("pocket", "COMPLETED", "Up to date")
    assert newest["state"]["message"].startswith(
        "all 26 steps are finished: there is nothing to do; all that pocket has"
    )
    mine = {"flow_runs": {"id": {"any_": [newest["id"]]}}}
    assert ask(server, "task_runs/filter", **mine) == [], "neither tasks nor subflows"
    artifacts = ask(server, "artifacts/filter", **mine)
    assert {artifact["key"] for artifact in artifacts} >= {"progress-per-iteration", "index-pocket"}


@pytest.mark.slow
def test_a_run_that_takes_in_what_comes_says_the_same_without_a_server(copy: Home, tmp_path: Path, server: str) -> None:
    config = tmp_path / "nightly.yaml"
    config.write_text(f"{POCKET}schedule: {{take_in: next_iteration, max_iterations: 2}}\n")
    alone = copy.halter("run", config, "--json")
    recorded = replace(copy, server=server).halter("run", config, "--json")
    assert (alone.code, recorded.code) == (0, 0), alone.err + recorded.err
    assert alone.document == recorded.document
    assert "no Prefect server was started" in alone.err
    assert "as many as schedule.max_iterations allows" in alone.document["taken_in"]


def test_where_an_iteration_is_due_it_is_not_taken_for_nothing(copy: Home, tmp_path: Path) -> None:
    config = tmp_path / "nightly.yaml"
    config.write_text(f"{POCKET}schedule: {{take_in: next_iteration, max_iterations: 3}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(copy.folder))
        session = Session(load_config(config))
        standing = look(session)
        assert standing.nothing_to_do, "of the two iterations in force"
        assert figures_if_done(session, standing) is None, "V3 is due"
        assert session.parts == ["V1", "V2"], "and is not appended by a look"


def test_the_plan_is_made_once_and_anew_when_something_has_happened(
    copy: Home, pocket_file: Path, openings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTER_HOME", str(copy.folder))
    session, other = Session(load_config(pocket_file)), copy.store
    openings.clear()
    plan = session.plan
    assert session.plan is plan
    assert session.parts == ["V1", "V2"]
    assert len(openings) == 1
    other.set_override("V1", "train_safety_reward", "reward.margins", "large")
    assert json.dumps(session.plan["V1", "train_safety_reward"].recipe()).count('"large"') == 1
    assert session.plan is not plan
