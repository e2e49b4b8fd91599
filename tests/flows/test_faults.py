"""What happens to a run when the world around it breaks: the Prefect server is lost, another run is at work."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak import soak
from data_store.errors import InputError
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.session import sole_config
from tests.flows.recipe_runs import POCKET, Finished, Home
from tests.tasks.bench import wait_for

# Four evaluations are to be made anew.
CHANGED = POCKET.replace("  safety_prompts: 6", "  safety_prompts: 5")
EVALUATIONS = {("V0", "evaluate"), ("V1", "evaluate"), ("V2", "evaluate_sampled"), ("V2", "evaluate")}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "changed.yaml"
    path.write_text(CHANGED)
    return path


@pytest.fixture(scope="module")
def together(
    first_run: tuple[Home, Finished], changed: Path, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """The changed config, run twice at once on a copy of the finished run; both ended well."""
    home = replace(first_run[0], folder=tmp_path_factory.mktemp("together") / "home", server=server)
    shutil.copytree(first_run[0].folder, home.folder)
    both = [home.start("run", changed, "--json") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said
    return home


def new_runs(home: Home, before: int) -> list[tuple[str, str, str]]:
    return home.runs()[before:]


def servers(home: Home) -> list[int]:
    """The Prefect server of a run and what watches over it."""
    return [pid for pid in home.processes() if b"\0server\0start" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def listen(process: "subprocess.Popen[str]", lines: list[str], mark: str, heard: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if mark in line:
            heard.set()
    heard.set()


@pytest.mark.slow
def test_a_run_whose_prefect_server_is_killed_ends_by_itself_and_the_same_command_goes_on(
    copy_of_first_run: Callable[[], Home], changed: Path
) -> None:
    home = replace(copy_of_first_run(), server=None)
    before = len(home.runs())
    process, lines, heard = home.start("run", changed, "--json"), [], threading.Event()
    listener = threading.Thread(target=listen, args=(process, lines, "done in", heard))
    listener.start()
    try:
        assert heard.wait(300)
        for pid in servers(home):
            os.kill(pid, signal.SIGKILL)
        process.wait(300)
    finally:
        process.kill()
        listener.join()
    said = "".join(lines)
    assert process.returncode == 1, said
    assert "failed: the Prefect server" in said
    wait_for(lambda: home.processes() == [], "the end of all processes", 30)
    assert "succeeded" in {state for _, _, state in new_runs(home, before)}, "what was done stays"
    assert "running" not in home.states().values()

    on = home.halter("run", changed, "--json")
    assert on.code == 0, on.err
    succeeded = [(part, step) for part, step, state in new_runs(home, before) if state == "succeeded"]
    assert sorted(succeeded) == sorted(EVALUATIONS), "nothing twice"
    assert verify(home.store, deep=False).problems == ()


@pytest.mark.slow
def test_two_runs_of_one_config_at_once_share_the_work(together: Home, first_run: tuple[Home, Finished]) -> None:
    new = together.runs()[len(first_run[0].runs()) :]
    assert sorted((part, step) for part, step, _ in new) == sorted(EVALUATIONS), "each once"
    assert set(together.states().values()) == {"fresh"}
    assert verify(together.store, deep=False).problems == ()


@pytest.mark.slow
def test_random_kills_over_the_whole_tree_lose_nothing_and_the_end_is_the_same(
    together: Home, first_run: tuple[Home, Finished], changed: Path, server: str, tmp_path: Path
) -> None:
    """benchmarks/soak.py in short, on the four steps that the changed config makes anew; test_interruptions.py kills
    whole runs."""
    wanted, start = together.heads(), first_run[0].folder
    tally = soak(changed, tmp_path, wanted, kills=3, seed=1, gap=12.0, server=server, start=start)
    assert sum(tally.killed.values()) == 3
    assert (tally.lost, tally.problems, tally.orphans, tally.hung, tally.differing) == ([], [], [], [], [])


def test_another_config_of_the_same_name_is_refused_while_one_runs(
    tmp_path: Path, changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would move the heads that the first one reads."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    other, elsewhere = tmp_path / "other.yaml", tmp_path / "elsewhere.yaml"
    other.write_text(CHANGED.replace("seed: 3", "seed: 4", 1))
    elsewhere.write_text(CHANGED.replace("name: pocket", "name: elsewhere"))
    running = load_config(changed)
    with sole_config(running):
        with sole_config(running), sole_config(load_config(elsewhere)):
            pass
        message = r"another config is running under the name 'pocket'.*another `name`"
        with pytest.raises(InputError, match=message), sole_config(load_config(other)):
            pass
    with sole_config(load_config(other)):
        pass
