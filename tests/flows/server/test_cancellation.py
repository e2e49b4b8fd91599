"""A run that no worker watches over is cancelled on its page: `halter run` itself, or one of its subflows alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.prefect_bench import bench
from tests.flows.recipe_runs import POCKET, Home, ask
from tests.tasks.bench import wait_for

SECONDS = 240.0


@pytest.mark.slow
@pytest.mark.parametrize("cancelled", ["pocket", "foundation"])
def test_a_run_in_the_terminal_ends_when_it_or_a_subflow_is_cancelled_and_the_same_command_goes_on(
    copy_of_first_run: Callable[[], Home], tmp_path: Path, cancelled: str
) -> None:
    home = copy_of_first_run()
    before = {run["id"] for run in ask(str(home.server), "flow_runs/filter")}
    endless = tmp_path / "endless.yaml"
    endless.write_text(POCKET.replace("max_steps: 12", "max_steps: 100000"))
    process = home.start("run", endless)
    try:
        wait_for(lambda: ("base", "pretrain", "running") in home.runs(), "the training", SECONDS)
        runs = [run for run in ask(str(home.server), "flow_runs/filter") if run["id"] not in before]
        names = {run["name"]: run["id"] for run in runs}
        assert set(names) == {"pocket", "foundation"}
        asked = {"type": "CANCELLING", "name": "Cancelling"}
        ask(str(home.server), f"flow_runs/{names[cancelled]}/set_state", state=asked)
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "failed: cancelled in the Prefect UI" in said
    assert home.runs()[-1] == ("base", "pretrain", "cancelled")
    wait_for(lambda: home.processes() == [], "the end of all processes", 60)
    over = {run["name"]: run["state_name"] for run in runs_of(home, names)}
    assert over == {"pocket": "Cancelled", "foundation": "Cancelled"}


def runs_of(home: Home, names: dict[str, str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = ask(
        str(home.server), "flow_runs/filter", flow_runs={"id": {"any_": list(names.values())}}
    )
    return found


@pytest.mark.slow
def test_a_run_whose_process_is_gone_does_not_stay_cancelling(tmp_path: Path) -> None:
    """Prefect waits five minutes for a process that could end; here, two seconds."""
    with bench(tmp_path, PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS="2") as server:
        sleeper = server.start("sleeps")
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        sleeper.kill()
        sleeper.wait()
        (run,) = server.runs(flow_runs={"name": {"any_": ["sleeps"]}})
        ask(server.url, f"flow_runs/{run['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_for(lambda: server.state("sleeps") == "Cancelled", "the end of the cancelling", 120)
