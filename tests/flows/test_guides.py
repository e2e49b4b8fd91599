"""The commands of docs/quickstart.md and docs/rerun-a-step.md, run in their order on the pocket recipe."""

import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.recipe_runs import ROOT, Home, ask
from tests.flows.test_serve import serving

QUICKSTART, RERUN = (ROOT / "docs" / name for name in ("quickstart.md", "rerun-a-step.md"))
OF_THE_SHELL = ["python3 -m venv .venv", ". .venv/bin/activate"]


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def follow(page: Path, home: Home, config: Path) -> list[tuple[str, str]]:
    """What each command of `halter` on the page says, in the page's order; `halter serve` is started in test_serve.py
    and below."""
    said = []
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "halter" and words[1] != "serve":
            finished = home.halter(*(config if word == "configs/smoke.yaml" else word for word in words[1:]))
            assert finished.code == 0, f"{line}: {finished.err}"
            said.append((line, finished.out))
    return said


def test_the_quickstart_does_what_it_says(copy_of_first_run: Callable[[], Home], pocket_file: Path) -> None:
    said = dict(follow(QUICKSTART, copy_of_first_run(), pocket_file))
    assert "figures per iteration (simulated annotator" in said["halter run configs/smoke.yaml"]
    assert "dataset/preferences@V1" in said["halter lineage model/policy@V2"], "what made it"
    assert "steps are stale now" in said["halter rerun V1 safety-reward --set reward.margins=large"]
    assert "is stale: " in said["halter status"], "the second look, after the rerun"


def test_rerunning_a_step_does_what_the_page_says(copy_of_first_run: Callable[[], Home], pocket_file: Path) -> None:
    home = copy_of_first_run()
    before = home.heads()
    (_, first), (_, second), (_, third) = follow(RERUN, home, pocket_file)
    quoted = re.search(r"```\n(\d steps are stale now: .*\n.*\n)```", RERUN.read_text())
    assert quoted is not None
    assert quoted[1] in first
    assert "everything that depends on it is up to date" in second
    assert "everything that depends on it is up to date" in third
    assert home.heads() == before, "the old versions are taken up again"


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
