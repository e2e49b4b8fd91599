import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.nights import age
from flows.server import prefect_database
from tests.flows.prefect_bench import Bench, bench
from tests.flows.recipe_runs import ROOT
from tests.tasks.bench import wait_for


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("installed") / "share" / "prefect.db"
    prefect_database.prepare(path)
    return path


@pytest.mark.slow
def test_a_prepared_database_is_whole_empty_and_alone_in_its_folder(made: Path) -> None:
    assert [path.name for path in made.parent.iterdir()] == ["prefect.db"]
    with sqlite3.connect(made) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"flow_run", "task_run", "artifact", "alembic_version"} <= tables
        assert database.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)


@pytest.mark.slow
def test_a_new_home_starts_with_it_and_prefect_has_nothing_to_migrate(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_database, "prepared", lambda: made)
    prefect_database.furnish(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.db"]
    check = "import asyncio; from prefect.server.database import provide_database_interface as db"
    subprocess.run(
        [sys.executable, "-c", f"{check}; asyncio.run(db().create_db())"],
        env={"PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1", "PATH": ""},
        cwd=ROOT,
        check=True,
    )
    assert schema_of(tmp_path / "prefect.db") == schema_of(made)


def schema_of(path: Path) -> list[tuple[str]]:
    with sqlite3.connect(path) as database:
        versions = database.execute("SELECT version_num FROM alembic_version").fetchall()
        return versions + database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.slow
def test_a_home_that_has_a_database_keeps_it_and_a_database_elsewhere_is_the_users(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_database, "prepared", lambda: made)
    (tmp_path / "prefect.db").write_bytes(b"mine")
    prefect_database.furnish(tmp_path)
    assert (tmp_path / "prefect.db").read_bytes() == b"mine"

    (tmp_path / "other").mkdir()
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://localhost/prefect")
    prefect_database.furnish(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def kept(server: Bench) -> dict[str, int]:
    """How many rows the server has of what grows with each run."""
    tables = ("flow_run", "task_run", "log", "artifact", "artifact_collection")
    return {table: server.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


@pytest.mark.slow
def test_what_is_older_than_ninety_days_goes_when_the_vacuum_looks_and_nothing_else(tmp_path: Path) -> None:
    """A run that ended and one that waits for people, each with a subflow, tasks and an artifact, are a hundred days
    old; another one is of today."""
    settings = {"PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "2"}
    with bench(tmp_path) as server:
        for how in ("well", "waits"):
            server.run(how)
        wait_for(lambda: kept(server)["task_run"] == 4, "the task runs to be recorded", 60)
        old = kept(server)
        assert (old["flow_run"], old["artifact"], old["artifact_collection"]) == (4, 2, 2)
    age(tmp_path / "prefect.db", days=100)
    with bench(tmp_path, **settings, PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS="2") as server:
        server.run("well")
        wait_for(lambda: kept(server)["flow_run"] == 2, "the old runs to go", 120)
        wait_for(lambda: kept(server)["artifact_collection"] == 1, "the old artifact's page to go", 120)
        wait_for(lambda: kept(server)["task_run"] == 2, "the task runs", 60)
        assert kept(server)["artifact"] == 1
        assert {run["state_name"] for run in server.runs()} == {"Completed"}
        names = [run["name"] for run in server.runs()]
        assert "well" in names, "the one of today"
        assert "waits" not in names
