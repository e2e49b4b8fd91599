"""The schedule does what it says: a real server plans, marks late and is looked after; a real worker runs."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

from flows.server.planned import SECONDS_TO_PLAN, ScheduleWatch, skip_missed, skip_overtaken
from tests.flows.commands.test_serve import SECONDS, serving
from tests.flows.prefect_bench import Bench, bench
from tests.flows.recipe_runs import POCKET, Finished, Home, ask
from tests.tasks.bench import wait_for

POOL = WorkPoolFilter(name=WorkPoolFilterName(any_=["halter"]))
CONFIG = "configs/pocket.yaml"
EVERY_MINUTE = {"schedule": {"cron": "* * * * *", "timezone": "Asia/Seoul"}, "active": True, "slug": "recipe"}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A server on which the recipe is scheduled, and no worker."""
    with bench(tmp_path_factory.mktemp("planned"), PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5") as found:
        with SyncPrefectClient(api=f"{found.url}/api") as client:
            client.create_work_pool(WorkPoolCreate(name="halter", type="process", is_paused=True))
        flow = ask(found.url, "flows/", name="recipe")
        ask(
            found.url,
            "deployments/",
            name="recipe",
            flow_id=flow["id"],
            work_pool_name="halter",
            parameters={"config": CONFIG},
            schedules=[EVERY_MINUTE],
        )
        yield found


def scheduled(server: Bench) -> list[str]:
    rows = server.sql("SELECT id FROM flow_run WHERE state_type = 'SCHEDULED' ORDER BY expected_start_time")
    return [str(row[0]) for row in rows]


def let_come_due(server: Bench, count: int) -> list[str]:
    """The first planned runs, as if their minutes had passed: the last of them one minute ago."""
    wait_for(lambda: len(scheduled(server)) >= count, "the scheduler to plan", 120)
    chosen = scheduled(server)[:count]
    for number, run in enumerate(chosen):
        when = f"{datetime.now(UTC) - timedelta(minutes=count - number):%F %T.000000}"
        server.sql(
            "UPDATE flow_run SET expected_start_time = ?, next_scheduled_start_time = ? WHERE id = ?", when, when, run
        )
    return chosen


def told(server: Bench, run: str) -> tuple[str, str]:
    found = ask(server.url, "flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0]["state"]
    return found["name"], found["message"] or ""


@pytest.mark.slow
def test_of_overtaken_runs_the_last_stays_in_line_and_the_others_say_why_they_were_skipped(server: Bench) -> None:
    runs = let_come_due(server, 4)
    wait_for(lambda: all(told(server, run)[0] == "Late" for run in runs), "the runs to be marked as late", 120)
    with SyncPrefectClient(api=f"{server.url}/api") as client:
        skip_overtaken(client, POOL)
        states = [told(server, run) for run in runs]
        assert [name for name, _ in states] == ["Skipped", "Skipped", "Skipped", "Late"]
        assert re.fullmatch(
            r"another run was at work when its time came; the run planned for [-\d]+ [\d:]+ UTC takes up what it "
            r"would have done",
            states[0][1],
        )
        skip_missed(client, POOL, CONFIG)
        assert told(server, runs[3])[0] == "Late", "the one that makes up for all"
        skip_missed(client, POOL, "configs/another.yaml")
        assert told(server, runs[3])[0] == "Skipped"
        assert "off now, or another config's" in told(server, runs[3])[1]


@pytest.mark.slow
def test_a_run_that_is_cancelled_before_a_worker_has_it_is_cancelled_at_once(server: Bench) -> None:
    (run,) = let_come_due(server, 1)
    ask(server.url, f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    assert told(server, run)[0] == "Cancelled"


@pytest.mark.slow
def test_it_is_said_when_the_next_run_is_planned_and_when_none_is_with_the_schedulers_error_in_the_log(
    server: Bench,
) -> None:
    """The scheduler is broken as a fault in Prefect or its database would break it: each of its inserts is refused."""
    (log,) = (server.folder / "logs").glob("*-server.log")
    clock = Clock()
    wait_for(lambda: len(scheduled(server)) > 0, "the scheduler to plan", 120)
    with SyncPrefectClient(api=f"{server.url}/api") as client:
        watch = ScheduleWatch(client, POOL, log, server.folder / "worker.log", clock)
        (said,) = watch.look(is_busy=False)
        assert re.fullmatch(r"next run planned for 20\d\d-\d\d-\d\d \d\d:\d\d Asia/Seoul, in .*", said)
        assert watch.look(is_busy=False) == [], "once"

        server.sql(
            "CREATE TRIGGER broken BEFORE INSERT ON flow_run WHEN NEW.auto_scheduled "
            "BEGIN SELECT RAISE(ABORT, 'refused for the test'); END"
        )
        recipe = client.read_deployment_by_name("recipe/recipe")
        (schedule,) = recipe.schedules
        client.update_deployment_schedule(recipe.id, schedule.id, active=True, schedule=schedule.schedule)
        assert scheduled(server) == [], "a changed schedule takes its planned runs back"
        assert watch.look(is_busy=False) == []
        wait_for(lambda: "refused for the test" in log.read_text(), "the scheduler's error in the server's log", 150)
        clock.now += SECONDS_TO_PLAN
        (said,) = watch.look(is_busy=False)
        assert "the schedule is on, but no run is planned" in said
        assert str(log) in said
        assert watch.look(is_busy=False) == [], "once"

        server.sql("DROP TRIGGER broken")
        wait_for(lambda: len(scheduled(server)) > 0, "the scheduler to plan again", 150)
        assert "next run planned for" in watch.look(is_busy=False)[0]


DONE = ("Completed", "Up to date")  # the second where a run finds that all is finished


@pytest.mark.slow
def test_every_minute_a_run_is_executed_and_what_comes_too_early_is_skipped(
    first_run: tuple[Home, Finished], tmp_path: Path
) -> None:
    """With a real worker. Then a run that a person has started holds the pool's only place for some minutes."""
    home = replace(first_run[0], folder=tmp_path / "home")
    shutil.copytree(first_run[0].folder, home.folder)
    config = tmp_path / "pocket.yaml"
    config.write_text(POCKET)
    with serving(home, config, "--schedule", "* * * * *") as served:
        ready = datetime.now(UTC)
        lines: list[str] = []
        assert served.process.stdout is not None
        threading.Thread(target=lambda out: lines.extend(out), args=(served.process.stdout,), daemon=True).start()

        def planned(*states: str) -> list[dict[str, str]]:
            """The runs of the schedule in these states, the earliest first."""
            found = ask(
                served.url,
                "flow_runs/filter",
                sort="EXPECTED_START_TIME_ASC",
                flow_runs={"state": {"name": {"any_": list(states)}}},
            )
            return [run for run in found if run["auto_scheduled"]]

        wait_for(lambda: bool(planned(*DONE)), "a planned run to be executed", SECONDS)
        first = planned(*DONE)[0]
        assert datetime.fromisoformat(first["expected_start_time"]) - ready <= timedelta(minutes=2)
        assert any(line.startswith("next run planned for ") for line in lines), lines

        holder = served.start_endless(100_000)
        wait_for(lambda: bool(planned("Skipped")), "a run to be overtaken", SECONDS)
        assert "another run was at work" in json.dumps(planned("Skipped"))

        ask(served.url, f"flow_runs/{holder}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        assert served.end(holder)["state_name"] == "Cancelled"
        # It goes on with the same training: that many steps were set by hand, and nobody has taken them back.
        wait_for(lambda: bool(planned("Running")), "the run that was left in line", SECONDS)
        assert planned("Running")[0]["expected_start_time"] > planned("Skipped")[-1]["expected_start_time"]
        wait_for(lambda: bool(served.trainings()), "its training", SECONDS)
