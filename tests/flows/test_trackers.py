"""What steps report reaches trackers while it is reported, and no tracker can hold a step up or fail it."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_store.catalog.whole import read_curves, read_whole
from data_store.errors import InputError
from data_store.identity import CONFIG_FILE
from data_store.records import Metric, RunRecord
from data_store.store import Store
from flows import trackers
from flows.trackers import FOLDER, Followed, Trackers, check_trackers
from tests.flows.recipe_runs import Finished, Home

RECORD = RunRecord("ppo", "V2", "f", "1", {"config": {"training": {"lr": 0.5, "betas": [0.9, 0.95]}, "lora": None}}, 0)
PLACE = Path(FOLDER, "tensorboard", "V2", "ppo", RECORD.run_id[:8])

Points = dict[str, list[tuple[int, float]]]


def in_tensorboard(folder: Path) -> Points:
    """What TensorBoard itself reads: metric → (step, value), in order."""
    found = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.slow
def test_points_are_in_tensorboard_while_the_step_is_at_work_and_its_last_numbers_after(tmp_path: Path) -> None:
    with Trackers(["tensorboard"], "demo", tmp_path).follow() as followed:
        followed.points(RECORD, [Metric("loss", 0.5, 1), Metric("loss", 0.25, 2), Metric("kl", 2.0, 2)])
        until = time.monotonic() + 60
        while not (tmp_path / PLACE).is_dir() or in_tensorboard(tmp_path / PLACE) != {
            "loss": [(1, 0.5), (2, 0.25)],
            "kl": [(2, 2.0)],
        }:
            assert time.monotonic() < until, "nothing was there while the step was at work"
            time.sleep(0.2)
        followed.points(RECORD, [Metric("seconds", 4.0)])
    assert followed.problems == []
    assert in_tensorboard(tmp_path / PLACE)["seconds"] == [(2, 4.0)], "numbers of the whole run stand at its last step"
    (text,) = EventAccumulator(str(tmp_path / PLACE)).Reload().Tensors("config/text_summary")
    written = text.tensor_proto.string_val[0].decode().split("\n")
    assert written == ["    training.lr: 0.5", "    training.betas: [0.9, 0.95]", "    lora: null"]


@pytest.mark.slow
def test_a_tracker_that_fails_is_left_behind_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    with Trackers(["mlflow", "tensorboard"], "demo", tmp_path).follow() as followed:
        followed.points(RECORD, [Metric("loss", 0.5, 1)])
    (problem,) = followed.problems
    assert problem.startswith("tracker mlflow was left behind: ")
    assert in_tensorboard(tmp_path / PLACE) == {"loss": [(1, 0.5)]}


def stopped(followed: Followed) -> None:
    """Whatever it does, it does not go on."""
    process = followed._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)


@pytest.mark.slow
def test_a_tracker_that_hangs_holds_nobody_up_and_what_it_missed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "_SECONDS_TO_END", 1.0)
    followed = Trackers(["tensorboard"], "demo", tmp_path).follow()
    began = time.monotonic()
    with followed:
        followed.points(RECORD, [Metric("loss", 0.5, 1)])
        stopped(followed)
        followed.points(RECORD, [Metric("loss", 0.5, step) for step in range(2, 30_000)])
    assert time.monotonic() - began < 10
    stop, lost = followed.problems
    assert stop == "trackers did not end within 1.0 s and were stopped"
    assert lost.startswith("trackers were too slow for ")
    assert followed._process is not None
    assert followed._process.returncode == -signal.SIGKILL


def test_without_trackers_there_is_no_process_and_no_folder(tmp_path: Path) -> None:
    with Trackers([], "demo", tmp_path).follow() as followed:
        followed.points(RECORD, [Metric("loss", 0.5, 1)])
    assert (followed._process, followed.problems, list(tmp_path.iterdir())) == (None, [], [])


def test_a_tracker_that_is_not_installed_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(["tensorboard"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else name)
    with pytest.raises(InputError, match="trackers: wandb is not installed here: `pip install wandb`"):
        check_trackers(["tensorboard", "wandb"])


@pytest.mark.slow
def test_a_step_of_a_run_is_in_tensorboard_as_in_the_catalog_and_is_the_same_step(
    first_run: tuple[Home, Finished], tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(first_run[0].folder, folder, ignore=shutil.ignore_patterns(".prefect"))
    file = folder / "pocket" / CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trackers": ["tensorboard"]}))
    store = Store.open(folder / "pocket")
    before = store.catalog.ask("whole", read_whole)
    finished = Home(folder).halter("rerun", "V1", "train_safety_reward")
    assert finished.code == 0, finished.err
    (place,) = (folder / "pocket" / FOLDER / "tensorboard" / "V1" / "train_safety_reward").iterdir()
    after = store.catalog.ask("whole", read_whole)
    (run_id,) = set(after.runs) - set(before.runs)
    assert place.name == run_id[:8]
    assert after.runs[run_id].run.fingerprint in {run.run.fingerprint for run in before.runs.values()}
    curves: Points = {}
    for name, step, value in store.catalog.ask("curves", read_curves)[run_id]:
        curves.setdefault(name, []).append((step, value))
    shown = in_tensorboard(place)
    assert curves
    for name, points in curves.items():
        assert shown[name][: len(points)] == [(step, pytest.approx(value, rel=1e-6)) for step, value in points]
    assert shown["accuracy/all"][-1][1] == pytest.approx(after.runs[run_id].metrics["accuracy/all"])
    assert Home(folder).look("verify").code == 0
