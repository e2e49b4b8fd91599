"""Steps that the workers of a Ray cluster do: a real cluster of two nodes with homes of their own, a real Prefect
server, a real S3 server between them."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_store.places import read_places
from data_store.upkeep.verification import verify
from flows.recipe.config import load_config
from flows.session import remember
from tests.flows.recipe_runs import POCKET, Finished, Home, ask, begun
from tests.postgres import Postgres
from tests.ray_cluster import Node, RayCluster
from tests.s3_server import S3Server, in_bucket
from tests.tasks.bench import wait_for

pytestmark = pytest.mark.cluster

LONG = ("--set", "reward.epochs=16")  # long enough to be killed in the middle


def config_of(folder: Path, *resources: str, recipe: str = POCKET) -> Path:
    """The pocket recipe with these resources, a line each."""
    path = folder / "pocket.yaml"
    lines = [recipe, *(["resources:"] if resources else []), *(f"  {line}" for line in resources), ""]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def finished(copy_of_first_run: Callable[[], Home], ray_cluster: RayCluster, s3: S3Server) -> Home:
    """The finished run, its objects in a bucket, of which the safety reward model is done by Ray's second node."""
    home = copy_of_first_run()
    told = home.look("move-store", "pocket", "--objects", s3.new_place(), "--remove-old", "--json")
    assert told.code == 0, told.err
    choose(home, f"train_safety_reward: {{ray: '{ray_cluster.address}', cpus: 2}}")
    return home


def choose(home: Home, *resources: str, recipe: str = POCKET) -> None:
    """Have the run done with these resources from now on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home.folder))
        remember(load_config(config_of(home.folder.parent, *resources, recipe=recipe)))


@pytest.mark.conformance(
    "a step whose machine dies is sent again for ever, or not at all", equation="tasks.engine.on_ray.driver:Driver"
)
def test_killed_at_random_moments_worker_node_and_flow_make_what_is_made_undisturbed(
    finished: Home, ray_cluster: RayCluster
) -> None:
    """Ray repeats nothing of its own: each attempt stands in the journal, and the end is that of one machine."""
    chance, node = random.Random(5), ray_cluster.second

    def attempt(number: int) -> None:
        wait_for(lambda: _states(finished).count("crashed") == number - 1, f"the end of attempt {number - 1}", 120)
        wait_for(lambda: finished.runs()[-1][2] == "running", f"attempt {number}", 120)
        time.sleep(chance.uniform(0.0, 1.5))

    with begun(finished, "rerun", "V1", "safety-reward", *LONG, "--json") as process:
        attempt(1)
        assert hit(node, "ray::"), node.log()
        attempt(2)
        node.kill()
        ray_cluster.join()
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, f"{said}\n{node.log()}"
    made = finished.head("model/reward-safety@V1")
    with begun(finished, "rerun", "V1", "safety-reward", "--json"):
        attempt(3)
    wait_for(lambda: node.processes("flows.sent_step") == [], "the end of what it had started", 60)
    choose(finished)
    again = finished.halter("rerun", "V1", "safety-reward", "--json")
    assert again.code == 0, again.err
    assert finished.head("model/reward-safety@V1") == made
    assert _states(finished) == ["succeeded", "crashed", "crashed", "succeeded", "crashed", "succeeded"]
    assert verify(finished.store).problems == ()


@pytest.mark.parametrize("how", ["Ctrl-C", "the flow's own page"])
def test_a_cancelled_flow_ends_the_step_on_its_node(finished: Home, ray_cluster: RayCluster, how: str) -> None:
    node = ray_cluster.second
    with begun(finished, "rerun", "V1", "safety-reward", "--set", "reward.epochs=400") as process:
        wait_for(lambda: finished.runs()[-1][2] == "running", "the step", 120)
        wait_for(lambda: node.processes("tasks.engine.worker") != [], "its process", 60)
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            (newest,) = ask(str(finished.server), "flow_runs/filter", sort="START_TIME_DESC", limit=1)
            asked = {"type": "CANCELLING", "name": "Cancelling"}
            ask(str(finished.server), f"flow_runs/{newest['id']}/set_state", state=asked)
        _, said = process.communicate(timeout=60)
        assert process.returncode != 0, said
    assert finished.runs()[-1] == ("V1", "train_safety_reward", "cancelled")
    wait_for(lambda: node.processes("tasks.engine.worker") == [], "the end of the step", 30)
    wait_for(lambda: in_bucket(read_places(finished.folder / "pocket").objects, "steps/") == [], "silence", 60)


def test_a_step_that_waits_for_what_no_node_has_says_so(finished: Home, ray_cluster: RayCluster) -> None:
    before = finished.runs()
    choose(finished, f"train_safety_reward: {{ray: '{ray_cluster.address}', cpus: 64, gpus: 2}}")
    waits = "cpus 64, gpus 2, which none of its 2 nodes has: it waits until one that has joins, or ask for less"
    with begun(finished, "rerun", "V1", "safety-reward") as process:
        heard: list[str] = []
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=lambda of: heard.extend(of), args=(stream,), daemon=True).start()
        wait_for(lambda: waits in " ".join(" ".join(heard).split()), "a word of what it waits for", 90)
    assert finished.runs() == before


def _states(home: Home) -> list[str]:
    """Of the attempts at V1's safety reward model, oldest first."""
    return [state for part, step, state in home.runs() if (part, step) == ("V1", "train_safety_reward")]


def hit(node: Node, *words: str) -> bool:
    """kill -9 of what does the step on a node, if it is there."""
    found = [pid for pid in node.processes(*words) if _started_by_step(pid)]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return bool(found)


def _started_by_step(pid: int) -> bool:
    """Ray's own agents bear its name as well."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return not any(word in line for word in ("Agent", "IDLE"))


TRAININGS = ("sft", "train_safety_reward", "train_helpfulness_reward", "ppo")
SHARDED = ("rejection_sample", "evaluate")


@pytest.mark.conformance("where shards are done changes what a step makes", equation="models.shards:parts_of")
def test_the_recipe_with_trainings_and_shards_on_ray_makes_what_one_machine_makes(
    first_run: tuple[Home, Finished],
    ray_cluster: RayCluster,
    s3: S3Server,
    database: Postgres,
    server: str,
    tmp_path: Path,
) -> None:
    """All together: the flow here, steps and shards on Ray, objects in a bucket, the journal on PostgreSQL."""
    home = Home(tmp_path / "home", server)
    ray = f"{{ray: '{ray_cluster.address}'}}"
    config = config_of(
        tmp_path,
        *(f"{step}: {ray}" for step in TRAININGS),
        f"rejection_sample: {{shards: {ray}}}",
        f"evaluate: {{ray: '{ray_cluster.address}', shards: {ray}}}",  # both
    )
    url = database.fresh()
    told = home.halter("move-store", "pocket", "--new", "--objects", s3.new_place(), "--journal", url, "--json")
    assert told.code == 0, told.err
    made = home.halter("run", config, "--json")
    assert made.code == 0, f"{made.err}\n{ray_cluster.head.log()}\n{ray_cluster.second.log()}"
    assert home.heads() == first_run[0].heads()
    runs = home.store.runs()
    spread = [run for run in runs if run.run.step in SHARDED]
    assert all(run.metrics["shards"] == run.metrics["shards/attempts"] >= 1 for run in spread)
    assert not any("shards" in run.metrics for run in runs if run not in spread)
    assert database.count(url) == sum(1 for _ in home.store.catalog.journal.whole()) > 0
    assert verify(home.store).problems == ()
    for prefix in ("steps/", "shards/"):
        assert in_bucket(read_places(home.folder / "pocket").objects, prefix) == []


@pytest.mark.conformance("a lost shard costs the whole step", equation="tasks.engine.on_ray.spread:Spread._results")
def test_a_shard_whose_worker_is_killed_is_done_again_alone_and_both_attempts_are_in_the_journal(
    finished: Home, ray_cluster: RayCluster
) -> None:
    node = ray_cluster.second
    choose(finished, f"rejection_sample: {{shards: {{ray: '{ray_cluster.address}', cpus: 2}}}}")
    sets = ("--set", "rejection.sampling.shards=3", "--set", "rejection.samples=16")
    place = read_places(finished.folder / "pocket").objects
    before = finished.heads()
    with begun(finished, "rerun", "V1", "rejection-sample", *sets, "--json") as process:
        wait_for(lambda: any("/began/" in key for key in in_bucket(place, "shards/")), "a shard", 180)
        assert hit(node, "shard_process"), node.log()
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, f"{said}\n{node.log()}"
    (run, *_) = finished.store.runs(step="rejection_sample", part="V1")
    assert run.state == "succeeded"
    assert (run.metrics["shards"], run.metrics["shards/attempts"]) == (6.0, 7.0)
    assert run.metrics[f"shards/attempts/{run.run.host}"] == 7.0
    assert in_bucket(place, "shards/") == []
    drawn = finished.head("dataset/candidates@V1")
    choose(finished)
    again = finished.halter("rerun", "V1", "rejection-sample", *sets, "--json")
    assert again.code == 0, again.err
    assert finished.head("dataset/candidates@V1") == drawn != before["dataset/candidates@V1"]


@pytest.mark.conformance(
    "how many nodes train changes what they make", equation="tasks.engine.on_ray.driver:Groups.place"
)
def test_trainings_over_two_nodes_make_what_two_processes_here_make_also_where_one_node_is_killed(
    finished: Home, ray_cluster: RayCluster
) -> None:
    """SFT is spread over them; of the reward model's training all that the second one does is killed."""
    once = "batch_size: 1, sequence_length: 384, epochs: 1}"
    twice = once.replace("1", "2", 1)
    reward = POCKET.replace("batch_size: 1, max_length", "processes: 2, epochs: 24, batch_size: 2, max_length")
    sft = POCKET.replace("sft: {", "sft: {processes: 2, sharded: true, ").replace(once, twice)
    for order, step, asset, recipe in (
        (("V1", "safety-reward"), "train_safety_reward", "model/reward-safety@V1", reward),
        (("V0", "sft"), "sft", "model/policy@V0", sft),
    ):
        choose(finished, recipe=recipe)
        here = finished.halter("rerun", *order, "--json")
        assert here.code == 0, here.err
        made, before = finished.head(asset), len(finished.runs())
        choose(finished, f"{step}: {{ray: '{ray_cluster.address}', nodes: 2}}", recipe=recipe)
        with begun(finished, "rerun", *order, "--json") as process:
            if step != "sft":
                wait_for(lambda: finished.runs()[-1][2] == "running", "the step", 120)
                wait_for(lambda: hit(ray_cluster.second, "tasks.engine.worker"), "its process there", 60)
            _, said = process.communicate(timeout=240)
            assert process.returncode == 0, f"{said}\n{ray_cluster.second.log()}"
        assert "trained on 2 nodes: " in said
        assert [run[2] for run in finished.runs()[before:]] == ["crashed"] * (step != "sft") + ["succeeded"]
        assert finished.head(asset) == made
    wait_for(lambda: in_bucket(read_places(finished.folder / "pocket").objects, "steps/") == [], "silence", 60)


@pytest.mark.soak
def test_a_worker_that_is_killed_at_ten_random_moments_makes_in_the_eleventh_attempt_what_is_made_undisturbed(
    finished: Home, ray_cluster: RayCluster
) -> None:
    chance, node = random.Random(8), ray_cluster.second
    made = finished.halter("rerun", "V1", "safety-reward", "--set", "reward.epochs=80", "--json")
    assert made.code == 0, f"{made.err}\n{node.log()}"
    before, runs = finished.heads(), len(finished.runs())
    choose(finished, f"train_safety_reward: {{ray: '{ray_cluster.address}', cpus: 2, attempts: 20}}")
    with begun(finished, "rerun", "V1", "safety-reward", "--json") as process:
        for killed in range(10):
            states = ["crashed"] * killed + ["running"]
            wait_for(lambda states=states: [run[2] for run in finished.runs()[runs:]] == states, "the step", 120)
            time.sleep(chance.uniform(0.0, 3.0))
            assert hit(node, "ray::"), node.log()
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, f"{said}\n{node.log()}"
    assert [run[2] for run in finished.runs()[runs:]] == ["crashed"] * 10 + ["succeeded"]
    assert finished.heads() == before
    assert verify(finished.store).problems == ()
