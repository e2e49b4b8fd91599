"""Steps that a worker of another machine does: a real Prefect server, a real worker with a home and a working folder of
its own, a real S3 server between them."""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from data_store.content.bucket import Bucket, open_bucket
from data_store.places import read_places
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.recipe.resources_config import ResourceConfig
from flows.session import remember, stored_config
from tests.flows.pool_bench import SENT, Pool, a_worker, config_of
from tests.flows.recipe_runs import POCKET, ROOT, Finished, Home, ask, begun
from tests.s3_server import S3Server, keys
from tests.tasks.bench import wait_for

pytestmark = pytest.mark.cluster


@pytest.mark.conformance("where a step is done changes what it makes", equation="tasks.engine.execute:_send")
def test_the_recipe_with_its_trainings_on_another_machine_makes_what_one_machine_makes(
    first_run: tuple[Home, Finished], s3: S3Server, server: str, tmp_path: Path
) -> None:
    home, config = Home(tmp_path / "home", server), config_of(tmp_path, "gpu")
    told = home.halter("move-store", "pocket", "--new", "--objects", s3.new_place(), "--json")
    assert told.code == 0, told.err
    with a_worker(home, config, tmp_path / "gpu", "gpu") as pool:
        made = home.halter("run", config, "--json")
        assert made.code == 0, f"{made.err}\n{pool.log()}"
        assert home.heads() == first_run[0].heads()
        sent = [run for run in home.store.runs() if run.run.step in SENT]
        assert len(sent) == len(pool.runs()) == 11
        assert {run["state_name"] for run in pool.runs()} == {"Completed"}
        assert all(run.metrics["processor_seconds"] > 0 for run in sent)
        assert set(home.states().values()) == {"fresh"}
        assert verify(home.store).problems == ()
        assert [key for key in keys(_bucket(home)) if key.startswith("steps/")] == []
        assert not list((pool.folder / "home").rglob("*.duckdb"))
        assert list((pool.folder / "cwd").iterdir()) == []
        again = home.halter("run", config, "--json")
        assert again.code == 0
        assert len(pool.runs()) == 11, "nothing was done again"


@pytest.fixture
def finished(copy_of_first_run: Callable[[], Home], s3: S3Server) -> Home:
    """The finished run, its objects in a bucket, of which the safety reward model is done by a pool."""
    home = copy_of_first_run()
    told = home.look("move-store", "pocket", "--objects", s3.new_place(), "--remove-old", "--json")
    assert told.code == 0, told.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home.folder))
        config = load_config(config_of(home.folder.parent, "gpu", ("train_safety_reward",)))
        remember(config)
    return home


@pytest.mark.conformance(
    "a step whose machine dies is sent again for ever, or not at all", equation="tasks.engine.execute:_send"
)
def test_killed_at_random_moments_worker_step_and_flow_make_what_is_made_undisturbed(
    finished: Home, tmp_path: Path
) -> None:
    """The step is forced anew each time; whoever is killed, nothing half done is seen and the end is the same."""
    chance = random.Random(11)
    with working(finished, tmp_path) as pool:
        made = finished.halter("rerun", "V1", "safety-reward", "--set", "reward.epochs=30", "--json")
        assert made.code == 0, f"{made.err}\n{pool.log()}"
        before = finished.heads()
        for target in ("step", "engine", "worker", "flow"):
            with begun(finished, "rerun", "V1", "safety-reward", "--json") as process:
                wait_for(lambda: finished.runs()[-1][2] == "running", "the step", 180)
                time.sleep(chance.uniform(0.0, 3.0))
                if target != "flow":
                    assert _hit(pool, target), pool.log()
                    _, said = process.communicate(timeout=400)
                    assert process.returncode == 0, f"{target}: {said}\n{pool.log()}"
            if target == "worker":
                pool.start()
            if target == "flow":
                again = finished.halter("rerun", "V1", "safety-reward", "--json")
                assert again.code == 0, f"{again.err}\n{pool.log()}"
            assert finished.heads() == before
        states = [state for part, step, state in finished.runs() if (part, step) == ("V1", "train_safety_reward")]
        killed = ["crashed", "succeeded"]  # a worker that is killed alone leaves the step at work
        assert states == ["succeeded", "succeeded", *killed, *killed, "succeeded", *killed]
        assert verify(finished.store).problems == ()
        assert [key for key in keys(_bucket(finished)) if key.startswith("steps/")] == []


@pytest.mark.parametrize("how", ["Ctrl-C", "the step's own page"])
def test_a_cancelled_flow_ends_the_step_where_it_is_done(finished: Home, tmp_path: Path, how: str) -> None:
    with working(finished, tmp_path) as pool:
        with begun(finished, "rerun", "V1", "safety-reward", "--set", "reward.epochs=400") as process:
            wait_for(lambda: finished.runs()[-1][2] == "running", "the step", 180)
            wait_for(lambda: pool.processes("tasks.engine.worker") != [], "its process", 60)
            if how == "Ctrl-C":
                process.send_signal(signal.SIGINT)
            else:
                asked = {"type": "CANCELLING", "name": "Cancelling"}
                ask(pool.server, f"flow_runs/{pool.runs()[-1]['id']}/set_state", state=asked)
            _, said = process.communicate(timeout=120)
            assert process.returncode != 0, said
        assert finished.runs()[-1] == ("V1", "train_safety_reward", "cancelled")
        wait_for(lambda: pool.processes("tasks.engine.worker") == [], "the end of the step", 60)
        wait_for(lambda: pool.runs()[-1]["state_name"] == "Cancelled", "the state", 60)
        if how == "Ctrl-C":  # the other one was ended by Prefect's worker, and the collector takes its last words
            wait_for(lambda: not any(key.startswith("steps/") for key in keys(_bucket(finished))), "silence", 60)


def test_other_code_where_the_step_is_done_is_refused_with_both_hashes(finished: Home, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    for name in ("data_store", "flows", "models", "tasks", "world", "web", "deployments"):
        shutil.copytree(ROOT / name, edited / name)
    with (edited / "tasks" / "train_reward.py").open("a") as file:
        file.write("# edited\n")
    with working(finished, tmp_path, code=edited):
        told = finished.halter("rerun", "V1", "safety-reward", "--json")
    assert told.code == 2, told.err
    assert "train_safety_reward of V1 is other code on" in told.err
    assert "tasks/train_reward.py" in told.err


def test_a_pool_of_which_the_server_knows_nothing_is_told_before_anything_is_computed(finished: Home) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(finished.folder))
        patch.setenv("PREFECT_API_URL", f"{finished.server}/api")
        elsewhere = ResourceConfig(work_pool="nowhere")
        remember(stored_config("pocket").model_copy(update={"resources": {"train_safety_reward": elsewhere}}))
    before = finished.runs()
    told = finished.halter("rerun", "V1", "safety-reward", "--json")
    assert told.code == 2, told.err
    assert "the Prefect server knows nothing of halter-step/nowhere: `halter deploy CONFIG`" in told.err
    assert finished.runs() == before


def test_a_job_of_slurm_whose_time_is_up_is_queued_again_and_its_step_sent_to_the_next(
    finished: Home, tmp_path: Path
) -> None:
    """Slurm itself is not here: its signal and the end of the job come by hand, `scontrol` writes down its words."""
    queued, bin = tmp_path / "queued", tmp_path / "bin"
    bin.mkdir()
    (bin / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {queued}\n')
    (bin / "scontrol").chmod(0o755)
    variables = {
        "POOL": "gpu",
        "SLURM_JOB_ID": "7",
        "PATH": os.pathsep.join((str(bin), str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    script = ROOT / "deployments" / "slurm.sbatch"
    config = finished.folder.parent / "pocket.yaml"
    with (
        a_worker(finished, config, tmp_path / "gpu", "gpu", script=script, variables=variables) as pool,
        begun(finished, "rerun", "V1", "safety-reward", "--set", "reward.epochs=60", "--json") as process,
    ):
        wait_for(lambda: finished.runs()[-1][2] == "running", "the step", 180)
        wait_for(lambda: pool.processes("tasks.engine.worker") != [], "its process", 60)
        job = pool.worker
        assert job is not None
        job.terminate()
        wait_for(queued.exists, "the job in the queue again", 60)
        assert queued.read_text() == "requeue 7\n"
        assert job.poll() is None, "it is Slurm that ends the job"
        pool.kill()
        pool.start()
        _, said = process.communicate(timeout=400)
        assert process.returncode == 0, f"{said}\n{pool.log()}"
    assert [run[2] for run in finished.runs()[-2:]] == ["crashed", "succeeded"]


def test_a_training_over_two_nodes_is_done_by_a_worker_on_each_and_makes_what_two_processes_here_make(
    finished: Home, tmp_path: Path
) -> None:
    """The script of Slurm starts them; what is `srun` there begins both on this machine here."""
    recipe = POCKET.replace("sft: {", "sft: {processes: 2, ")
    recipe = recipe.replace("batch_size: 1, sequence_length: 384, epochs: 1}", "batch_size: 2, sequence_length: 384}")
    path = finished.folder.parent / "pocket.yaml"

    def chosen(resources: str) -> None:
        path.write_text(f"{recipe}\nresources: {{{resources}}}\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HALTER_HOME", str(finished.folder))
            remember(load_config(path))

    chosen("")
    here = finished.halter("rerun", "V0", "sft", "--json")
    assert here.code == 0, here.err
    made = finished.head("model/policy@V0")
    chosen("sft: {work_pool: gpu, nodes: 2}")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "srun").write_text('#!/bin/bash\nwhile [ "${1#-}" != "$1" ]; do shift 2; done\n"$@" &\n"$@" &\nwait\n')
    (bin / "srun").chmod(0o755)
    variables = {
        "POOL": "gpu",
        "SLURM_JOB_ID": "7",
        "SLURM_NNODES": "2",
        "HALTER_NODE_ADDRESS": "127.0.0.1",
        "PATH": os.pathsep.join((str(bin), str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    script = ROOT / "deployments" / "slurm.sbatch"
    with a_worker(finished, path, tmp_path / "gpu", "gpu", script=script, variables=variables) as pool:
        before = {run["id"] for run in pool.runs()}  # other tests have used a pool of this name
        there = finished.halter("rerun", "V0", "sft", "--json")
        assert there.code == 0, f"{there.err}\n{pool.log()}"
        names = {run["name"] for run in pool.runs() if run["id"] not in before}
        assert names == {"sft V0", "sft V0, node 2"}
    assert "trained on 2 nodes: " in there.err
    assert "did several of these beside each other" in there.err
    assert finished.head("model/policy@V0") == made


def working(home: Home, folder: Path, code: Path | None = None) -> AbstractContextManager[Pool]:
    """The pool of the run with a worker."""
    return a_worker(home, home.folder.parent / "pocket.yaml", folder / "gpu", "gpu", code)


def _bucket(home: Home) -> Bucket:
    place = read_places(home.folder / "pocket").objects
    assert place is not None
    return open_bucket(place)


def _hit(pool: Pool, target: str) -> bool:
    """kill -9 of what does the step, if it is there: its own process, the flow run's, or the Prefect worker."""
    engines = pool.processes("prefect", "engine")
    if target == "worker" and pool.worker is not None and engines:
        pool.worker.kill()
        pool.worker.wait()
        return True
    found = engines if target == "engine" else pool.processes("tasks.engine.worker")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return bool(found)
