"""A bench for tests of what Prefect's services do: a server of Halter's with flows that take no time, and a look into
its database."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.server.server import prefect_server
from tests.flows.recipe_runs import ROOT, answer_to, ask

# Flows under Halter's names. «sleeps» is at work until it is killed.
FLOWS = """
import sys, time
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed

@task
def step():
    return 1

@flow(name="iteration")
def iteration(how):
    step()
    create_markdown_artifact("what was made", key=f"report-{how}")

@flow(name="recipe", flow_run_name="{how}")
def recipe(how):
    iteration(how)
    if how == "waits":
        return Completed(name="Waiting", message="V1 waits for people")
    if how == "sleeps":
        print("asleep", flush=True)
        time.sleep(600)

recipe(sys.argv[1])
"""


@dataclass(frozen=True)
class Bench:
    """A server at work, and the folder that it has its database in."""

    folder: Path
    url: str

    def start(self, how: str) -> "subprocess.Popen[str]":
        """A run of `recipe` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", FLOWS, how],
            env={**os.environ, "PREFECT_API_URL": f"{self.url}/api"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, how: str) -> None:
        """The same, finished."""
        process = self.start(how)
        assert process.wait(120) == 0

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The flow runs that fit, the oldest first."""
        found: list[dict[str, Any]] = ask(self.url, "flow_runs/filter", sort="START_TIME_ASC", **filters)
        return found

    def state(self, name: str) -> str:
        """The state of the only run of this name."""
        (run,) = self.runs(flow_runs={"name": {"any_": [name]}})
        return str(run["state_name"])

    def get(self, path: str) -> Any:
        """What Prefect's API tells."""
        return answer_to(f"{self.url}/api/{path}")

    def sql(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """What the server's database tells, or changed there."""
        with closing(sqlite3.connect(self.folder / "prefect.db", timeout=60)) as database, database:
            return database.execute(text, values).fetchall()


@contextmanager
def bench(folder: Path, **settings: str) -> Iterator[Bench]:
    """A server of its own in this folder, with these settings of Prefect's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PREFECT_"):
                patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        with prefect_server(folder) as url:
            yield Bench(folder, url)
