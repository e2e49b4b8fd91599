"""`halter serve` as people use it: a real server, worker and trainings, started and cancelled as the UI does it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.flows.recipe_runs import ROOT, Finished, Home, answer_to, ask
from tests.tasks.bench import wait_for

OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SECONDS = 240.0  # for one run on a busy machine


@dataclass
class Served:
    """A `halter serve` at work."""

    home: Home
    process: "subprocess.Popen[str]"
    url: str
    said: str

    def get(self, path: str) -> Any:
        """What Prefect's API tells."""
        return answer_to(f"{self.url}/api/{path}")

    def start(self, deployment: str, **parameters: Any) -> str:
        """Fill in a deployment's form and press Run; returns the flow run's id."""
        found = self.get(f"deployments/name/{deployment}")
        run = ask(self.url, f"deployments/{found['id']}/create_flow_run", parameters=parameters)
        return str(run["id"])

    def end(self, run: str) -> Any:
        """The flow run, once it is over."""
        wait_for(lambda: self.get(f"flow_runs/{run}")["state_type"] in OVER, f"the end of {run}", SECONDS)
        return self.get(f"flow_runs/{run}")

    def start_endless(self, steps: int) -> str:
        """A training that would take minutes, at work in its own process."""
        before = len(self.home.runs())
        run = self.start("rerun/step-pretrain", overrides=[f"pretrain.max_steps={steps}"])
        wait_for(lambda: self.home.runs()[before:] == [("base", "pretrain", "running")], "the training", SECONDS)
        wait_for(lambda: bool(self.trainings()), "the training's process", SECONDS)
        return run

    def trainings(self) -> list[int]:
        """The worker process that loads torch, and its children."""
        return [pid for pid in self.home.processes() if b"tasks.engine.worker" in _command(pid)]

    def workers(self) -> list[int]:
        """Prefect's worker, which starts the flows, and what watches over it."""
        return [pid for pid in self.home.processes() if b"\0worker\0start\0" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def serving(home: Home, *arguments: str | Path) -> Iterator[Served]:
    """`halter serve`, up and ready; stopped at the end where it still runs."""
    process = home.start("serve", *arguments)
    assert process.stdout is not None
    lines: list[str] = []
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C ends" in line:
            break
    watchdog.cancel()
    said = "".join(lines)
    assert "Prefect UI: " in said, process.communicate(timeout=60)
    url = said.split("Prefect UI: ")[1].split("/deployments")[0]
    try:
        yield Served(home, process, url, said)
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(
    first_run: tuple[Home, Finished], pocket_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """On a copy of the finished pocket run, with a server of its own."""
    home = replace(first_run[0], folder=tmp_path_factory.mktemp("served") / "home")
    shutil.copytree(first_run[0].folder, home.folder)
    with serving(home, pocket_file) as found:
        yield found


@pytest.mark.slow
def test_the_recipe_and_each_step_can_be_started(served: Served, pocket_file: Path) -> None:
    shown = ask(served.url, "deployments/filter", sort="NAME_ASC")
    assert shown[0]["name"] == "recipe", "as the page sorts them"
    found = {each["name"]: each for each in shown}
    steps = {step for _, step in served.home.states()}
    assert set(found) == {"recipe", *("step-" + step.replace("_", "-") for step in steps)}
    assert "step-dpo" not in found, "this config ends with PPO"
    assert {each["entrypoint"] for each in found.values()} == {"flows.pipeline.recipe", "flows.rerun.rerun"}
    assert {each["work_pool_name"] for each in found.values()} == {"halter"}
    assert found["recipe"]["parameters"] == {"config": str(pocket_file)}
    assert [schedule["active"] for schedule in found["recipe"]["schedules"]] == [False], "nothing trains unasked"
    (schedule,) = found["recipe"]["schedules"]
    assert schedule["slug"] is None, "the page shows the slug in place of the time"
    assert found["step-train-safety-reward"]["parameters"] == {"run": "pocket", "step": "train-safety-reward"}
    form = found["step-train-safety-reward"]["parameter_openapi_schema"]["properties"]
    assert all(field["description"] for field in form.values())
    choices = {name: field["enum"] for name, field in form.items() if "enum" in field}
    assert choices == {"iteration": ["V1", "V2"], "step": ["train-safety-reward"], "run": ["pocket"]}
    assert found["step-ppo"]["parameters"]["iteration"] == "V2", "where there is one choice it is made"
    for name, each in found.items():
        assert each["description"]
        assert each["tags"]
        assert f"/{name} " in served.said
        assert "(/artifacts/key/index-pocket)" in each["description"]
    assert served.get("work_pools/halter")["concurrency_limit"] == 1


@pytest.mark.slow
def test_a_form_filled_in_wrongly_is_refused_before_a_run_is_there(served: Served) -> None:
    for wrong in ({"iteration": "V3"}, {"iteration": "the second"}, {"iteration": "V2", "step": "ppo"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.start("rerun/step-train-safety-reward", **wrong)
        assert refused.value.code == 409
        assert list(wrong.values())[-1] in refused.value.read().decode()


@pytest.mark.slow
def test_a_parameter_that_the_flow_does_not_know_is_refused_before_a_run_is_there(served: Served) -> None:
    """Prefect would take it, and the run would crash before it can say which one it was."""
    for deployment, parameters in (
        ("recipe/recipe", {"confg": "configs/demo.yaml"}),
        ("rerun/step-train-safety-reward", {"iteration": "V2", "downstraem": True}),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.start(deployment, **parameters)
        assert refused.value.code == 409
        told = refused.value.read().decode()
        assert "confg" in told or "downstraem" in told


@pytest.mark.slow
def test_a_step_started_in_the_ui_is_the_only_one_that_runs_and_its_run_shows_what_is_stale_and_the_lineage(
    served: Served,
) -> None:
    before = served.home.runs()
    run = served.start("rerun/step-train-safety-reward", iteration="V2", overrides=["reward.margins=large"])
    over = served.end(run)
    assert (over["state_type"], over["name"]) == ("COMPLETED", "rerun train-safety-reward V2")
    assert served.home.runs()[len(before) :] == [("V2", "train_safety_reward", "succeeded")]
    after = ("rejection_sample", "fine_tune", "ppo", "evaluate_sampled", "evaluate", "measure_reward_models")
    fed = {("V2", step) for step in after}
    states = served.home.states()
    assert {key for key, state in states.items() if state == "stale"} == fed
    assert {state for key, state in states.items() if key not in fed} == {"fresh"}

    artifacts = ask(served.url, "artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    (shown,) = (each["data"] for each in artifacts if each["key"] == "rerun-train-safety-reward-v2")
    assert "6 steps are stale now" in shown
    assert "| V2 | rejection_sample | a newer model/reward-safety@V2 is there |" in shown
    assert 'set by hand: `reward.margins="large"`' in shown
    assert served.home.head("model/reward-safety@V2") in shown
    assert "dataset/preferences@V1" in shown, "what made it"


@pytest.mark.slow
def test_a_run_of_the_recipe_brings_up_to_date_what_is_not_and_nothing_else(served: Served) -> None:
    before = served.home.runs()
    states = served.home.states()
    over = served.end(served.start("recipe/recipe"))
    assert (over["state_type"], over["name"]) == ("COMPLETED", "pocket")
    due = {key for key, state in states.items() if state != "fresh"}
    assert {(part, step) for part, step, _ in served.home.runs()[len(before) :]} <= due
    assert set(served.home.states().values()) == {"fresh"}


@pytest.mark.slow
def test_cancelling_in_the_ui_ends_the_training_and_the_next_run_goes_on(served: Served) -> None:
    run = served.start_endless(100_000)
    ask(served.url, f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    assert served.end(run)["state_name"] == "Cancelled"
    wait_for(lambda: served.trainings() == [], "the end of the training", 60)
    assert served.home.runs()[-1] == ("base", "pretrain", "cancelled")
    assert served.home.states()["base", "pretrain"] == "cancelled"

    before = served.home.runs()
    over = served.end(served.start("rerun/step-pretrain", unset=["pretrain.max_steps"]))
    assert over["state_type"] == "COMPLETED"
    assert served.home.runs() == before, "the old version is taken up again"
    assert "cancelled" not in served.home.states().values()


@pytest.mark.slow
def test_a_second_one_for_the_same_stores_is_refused(served: Served) -> None:
    finished = served.home.halter("serve")
    assert finished.code == 2
    assert "is at work in" in finished.err
    assert served.process.poll() is None


@pytest.mark.slow
def test_sigterm_ends_server_worker_and_what_is_running(served: Served) -> None:
    """The last one: it ends what the others share."""
    served.start_endless(100_001)
    served.process.terminate()
    assert served.process.wait(SECONDS) == 0
    wait_for(lambda: served.home.processes() == [], "the end of all processes", 120)
    assert served.home.runs()[-1] == ("base", "pretrain", "cancelled")


@pytest.mark.slow
def test_a_server_of_the_users_own_is_not_taken_over(first_run: tuple[Home, Finished]) -> None:
    finished = replace(first_run[0], server="http://prefect.example:4200").halter("serve")
    assert finished.code == 2
    assert "prefect worker start --pool halter" in finished.err


@pytest.mark.slow
def test_the_command_knows_no_prefect_before_its_server_is_there() -> None:
    """Prefect reads its settings once, at import: an address that comes later would not be heard."""
    named = "[name for name in sys.modules if name.split('.')[0] == 'prefect']"
    code = f"import sys, flows.commands.run_cli, flows.commands.serve_cli; print({named})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_one_that_is_killed_with_its_worker_leaves_no_process_and_does_not_block_the_next(
    first_run: tuple[Home, Finished], pocket_file: Path, tmp_path: Path
) -> None:
    home = replace(first_run[0], folder=tmp_path / "home")
    shutil.copytree(first_run[0].folder, home.folder)
    with serving(home, pocket_file) as killed:
        run = killed.start_endless(100_000)
        for pid in (killed.process.pid, *killed.workers()):  # neither can end what it has started
            os.kill(pid, signal.SIGKILL)
        killed.process.wait()
        wait_for(lambda: home.processes() == [], "the end of all processes", SECONDS)
    assert home.states()["base", "pretrain"] in ("crashed", "cancelled")
    with serving(home, pocket_file, "--schedule", "0 2 * * 1", "--timezone", "Asia/Seoul") as again:
        assert again.get(f"flow_runs/{run}")["state_type"] in ("CRASHED", "CANCELLED")
        (schedule,) = again.get("deployments/name/recipe/recipe")["schedules"]
        assert schedule["active"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 2 * * 1", "Asia/Seoul")
        assert again.end(again.start("rerun/step-pretrain", unset=["pretrain.max_steps"]))["state_type"] == "COMPLETED"
