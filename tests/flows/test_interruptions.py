"""A run that is cut off, however and wherever: the same command goes on, and ends at the same bytes."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.alone import is_at_work
from tests.flows.recipe_runs import ROOT, Finished, Home
from tests.tasks.bench import wait_for


def cut_off(home: Home, config: Path, seen: Callable[[str], bool], wait: float, how: signal.Signals) -> tuple[int, str]:
    """Start the run, and send a signal `wait` seconds after `seen` holds for a line of its progress (or, where that is
    never, once two steps are at work side by side).

    Returns the exit code (0 where the run was quicker) and what it said.
    """
    process = home.start("run", config, "--json")
    lines: list[str] = []
    hit = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if seen(line):
                hit.set()
        hit.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        while not hit.wait(0.25):
            if how == signal.SIGINT and len(at_work(home)) == 2:
                break
        time.sleep(wait)
        process.send_signal(how)
        process.wait(60)
    finally:
        process.kill()
        listener.join()
    wait_for(lambda: home.processes() == [], "the end of all processes of the run", 30)
    return process.returncode, "".join(lines)


def at_work(home: Home) -> list[str]:
    """The steps that are at work."""
    if not (home.folder / home.name).exists():
        return []
    return [run.run.step for run in home.store.runs(state="running") if is_at_work(home.store, run.run.fingerprint)]


def after_steps(number: int) -> Callable[[str], bool]:
    """Whether `number` more steps are done."""
    done = 0

    def seen(line: str) -> bool:
        nonlocal done
        done += "done in" in line
        return done >= number

    return seen


@pytest.mark.slow
def test_a_run_that_is_killed_and_interrupted_again_and_again_ends_at_the_same_bytes(
    first_run: tuple[Home, Finished], tmp_path: Path, server: str, pocket_file: Path
) -> None:
    """Three times kill -9 and once Ctrl-C, at moments drawn by a seed; nothing outlives the command, no step that was
    done is done again, and every asset has the content hash that the run without interruption gave it.
    """
    rng = random.Random(20)
    home = Home(tmp_path / "home", server)

    for number in sorted(rng.sample(range(1, 8), 2)):
        code, _ = cut_off(home, pocket_file, after_steps(number), rng.uniform(0, 1.5), signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert "running" not in home.states().values(), "nobody works on it, and status knows"

    code, said = cut_off(home, pocket_file, lambda _: False, 0.0, signal.SIGINT)
    assert code == 130
    assert "stopped; the same command goes on from here" in said
    cancelled = {step for _, step, state in home.runs() if state == "cancelled"}
    assert len(cancelled) == 2, "neither step holds up the end of the other"

    code, _ = cut_off(home, pocket_file, after_steps(rng.randint(2, 5)), rng.uniform(0, 1.5), signal.SIGKILL)
    assert code == -signal.SIGKILL

    finished = home.halter("run", pocket_file, "--json")
    assert finished.code == 0, finished.err
    runs = home.runs()
    assert "running" not in {state for _, _, state in runs}
    succeeded = [(part, step) for part, step, state in runs if state == "succeeded"]
    assert len(succeeded) == len(set(succeeded)) == 26
    assert home.heads() == first_run[0].heads()


@pytest.mark.soak
def test_the_smoke_recipe_survives_ten_kills(tmp_path: Path) -> None:
    config = ROOT / "configs" / "smoke.yaml"
    whole = Home(tmp_path / "whole", name="smoke")
    assert whole.halter("run", config, "--json").code == 0
    home = Home(tmp_path / "killed", name="smoke")
    rng = random.Random(10)
    for _ in range(10):
        cut_off(home, config, lambda line: "Prefect UI" in line, rng.uniform(1, 20), signal.SIGKILL)
    finished = home.halter("run", config, "--json")
    assert finished.code == 0, finished.err
    assert home.heads() == whole.heads()
