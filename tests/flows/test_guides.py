"""The commands of docs/quickstart.md and docs/rerun-a-step.md, run in their order on the pocket recipe."""

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.commands.test_serve import serving
from tests.flows.guide_pages import QUICKSTART, RERUN, commands, follow
from tests.flows.recipe_runs import ROOT, Home, ask

OF_THE_SHELL = ["python3 -m venv .venv", ". .venv/bin/activate"]


def test_the_quickstart_does_what_it_says(redone: tuple[Home, dict[str, str]]) -> None:
    _, said = redone
    assert "figures per policy, judged by a simulated annotator (world" in said["halter run configs/smoke.yaml"]
    assert "dataset/preferences@V1" in said["halter lineage model/policy@V2"], "what made it"
    assert "steps are stale now" in said["halter rerun V1 safety-reward --set reward.margins=large"]
    assert "is stale: " in said["halter status"], "the second look, after the rerun"


@pytest.mark.slow
@pytest.mark.conformance("rerun recomputes what is valid", equation="tasks.engine.execute:execute")
def test_rerunning_a_step_does_what_the_page_says_and_taking_the_value_back_computes_nothing(
    copy_of_first_run: Callable[[], Home], pocket_file: Path
) -> None:
    home = copy_of_first_run()
    before, runs = home.heads(), len(home.runs())
    said = follow(RERUN, home, pocket_file)
    _, first = next(said)
    assert home.runs()[runs:] == [("V2", "train_safety_reward", "succeeded")]
    quoted = re.search(r"```\n(\d steps are stale now: .*\n.*\n)```", RERUN.read_text())
    assert quoted is not None
    assert quoted[1].replace("--run smoke", "--run pocket") in first
    _, second = next(said)
    assert "everything that depends on it is up to date" in second
    computed = home.runs()
    ((_, third),) = said
    assert "everything that depends on it is up to date" in third
    assert home.runs() == computed
    assert home.heads() == before, "the old versions are taken up again"
    assert set(home.states().values()) == {"fresh"}


def test_what_the_quickstart_installs_is_what_make_installs() -> None:
    shell = [line for line in commands(QUICKSTART) if not line.startswith("halter ")]
    (installs,) = (line for line in shell if line not in OF_THE_SHELL)
    assert installs in (ROOT / "README.md").read_text()
    assert installs.partition("install ")[2] in (ROOT / "Makefile").read_text()


@pytest.mark.slow
def test_the_ui_of_the_quickstart_comes_up_and_ends_with_ctrl_c(
    copy_of_first_run: Callable[[], Home], pocket_file: Path
) -> None:
    home = replace(copy_of_first_run(), server=None)
    with serving(home) as served:
        assert len(ask(served.url, "deployments/filter")) > 10
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(120) == 0
