"""A run whose process is killed is shown as Crashed: real servers, real processes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.server.crashes import AUTOMATION, set_up_crash_detection
from tests.flows.prefect_bench import bench
from tests.tasks.bench import wait_for


def asleep(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    return process


@pytest.mark.slow
def test_what_a_killed_command_left_running_is_crashed_as_soon_as_the_next_one_has_its_server(tmp_path: Path) -> None:
    with bench(tmp_path) as first:
        first.run("waits")
        killed = asleep(first.start("sleeps"))
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert first.state("sleeps") == "Running", "nobody was left to tell"
    with bench(tmp_path) as second:
        assert second.state("sleeps") == "Crashed"
        (run,) = second.runs(flow_runs={"name": {"any_": ["sleeps"]}})
        assert "its process is gone" in run["state"]["message"]
        assert second.state("waits") == "Waiting", "a run that waits for people is no crash"


@pytest.mark.slow
def test_what_is_at_work_beside_a_server_that_is_started_is_left_alone(tmp_path: Path) -> None:
    with bench(tmp_path) as first:
        sleeper = asleep(first.start("sleeps"))
        try:
            with bench(tmp_path) as second:
                assert second.url != first.url
                assert second.state("sleeps") == "Running"
        finally:
            sleeper.kill()
            sleeper.wait()


@pytest.mark.slow
def test_a_run_is_crashed_when_its_heartbeats_stop_and_one_that_waits_or_is_at_work_is_not(tmp_path: Path) -> None:
    """Heartbeats come every 30 s, the least that Prefect takes, and three may be missed."""
    with bench(tmp_path) as server:
        with SyncPrefectClient(api=f"{server.url}/api") as client:
            set_up_crash_detection(client, every=30)
            (laid_out,) = client.read_automations_by_name(AUTOMATION)
            set_up_crash_detection(client, every=30)
            (again,) = client.read_automations_by_name(AUTOMATION)
            assert again.id == laid_out.id, "it stays, and knows what it has heard"
        server.run("waits")
        killed, living = asleep(server.start("sleeps")), asleep(server.start("sleeps"))
        dead_id = server.runs(flow_runs={"name": {"any_": ["sleeps"]}})[0]["id"]
        killed.kill()
        killed.wait()
        try:
            wait_for(lambda: server.get(f"flow_runs/{dead_id}")["state_type"] == "CRASHED", "the crash", 240)
            message = server.get(f"flow_runs/{dead_id}")["state"]["message"]
            assert message.startswith("no heartbeat for 90 s")
            sleeping = server.runs(flow_runs={"name": {"any_": ["sleeps"]}})
            assert sorted(run["state_name"] for run in sleeping) == ["Crashed", "Running"]
            assert server.state("waits") == "Waiting"
        finally:
            living.kill()
            living.wait()
