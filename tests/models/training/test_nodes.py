"""A training on several nodes: each is a process with folders of its own, as a machine has them, and what they learn is
what as many processes of one machine learn. Real processes, gloo and torch's store between them."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.training.little_runs import contents
from tests.models.training.test_two_processes import CHANGES
from tests.tasks.bench import wait_for

Launch = Callable[..., int]
TWO: dict[str, Any] = {"nodes": 2, "processes": 2}
OF_ALL: dict[str, dict[str, Any]] = {**CHANGES, "ppo": {"batch_size": 8}}


def done(launch: Launch, trainer: str, folder: Path, **changes: Any) -> Path:
    wanted = {"batch_size": 4, "learning_rate": 1e-3, **OF_ALL[trainer], **changes}
    assert launch(trainer, folder, **wanted) == 0, (folder / "output.txt").read_text()[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "sharded"),
    [("pretrain", False), ("reward", False), ("ppo", False), ("sft", True), ("dpo", True), ("ppo", True)],
)
@pytest.mark.conformance("how many nodes train changes what they make", equation="models.training.meeting:Together")
def test_two_nodes_make_the_bytes_of_two_processes_of_one_machine(
    launch: Launch, tmp_path: Path, trainer: str, sharded: bool
) -> None:
    spread = {"sharded": True} if sharded else {}
    here = done(launch, trainer, tmp_path / "here", processes=2, **spread)
    nodes = done(launch, trainer, tmp_path / "nodes", **TWO, **spread)
    assert contents(nodes / "out") == contents(here / "out")
    assert json.loads((nodes / "metrics.json").read_text()) == json.loads((here / "metrics.json").read_text())
    assert (nodes / "curves.txt").read_text() == (here / "curves.txt").read_text()
    assert not (nodes / "node 2" / "out").exists()
    assert not (nodes / "node 2" / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["sft", "ppo"])
@pytest.mark.conformance("nodes go on from different states", equation="models.training.node_state:share_state")
def test_a_training_that_was_killed_goes_on_from_the_newest_checkpoint_whichever_node_has_it(
    launch: Launch, tmp_path: Path, trainer: str
) -> None:
    """The machine that had the first node, and all that was written, is the second one the next time."""
    changes = {"batch_size": 4, "learning_rate": 1e-3, **OF_ALL[trainer], **TWO}
    straight = done(launch, trainer, tmp_path / "straight", checkpoint_seconds=1e9, **TWO)
    broken = tmp_path / "broken"
    assert launch(trainer, broken, die_before="checkpoint-3", **changes) == 1
    mine, theirs = broken / "work", broken / "node 2" / "work"
    assert [path.name for path in mine.glob("checkpoint-*")] == ["checkpoint-2"]
    assert not list(theirs.glob("checkpoint-*"))
    theirs.mkdir(exist_ok=True)
    mine.rename(broken / "other")
    theirs.rename(mine)
    (broken / "other").rename(theirs)
    done(launch, trainer, broken, **TWO)
    assert contents(broken / "out") == contents(straight / "out")
    assert "resumed from" in (broken / "log.txt").read_text()


@pytest.mark.slow
def test_a_node_that_does_not_come_is_waited_for_as_long_as_was_asked_and_named(launch: Launch, tmp_path: Path) -> None:
    asked = {**CHANGES["sft"], "batch_size": 3, "processes": 3, "nodes": 3}
    assert launch("sft", tmp_path / "two of three", absent=(2,), wait_seconds=2.0, **asked) == 1
    said = (tmp_path / "two of three" / "output.txt").read_text()
    assert said.count("RuntimeError: 2 of 3 nodes came within 2 s, missing: 3.") == 2, said  # both hear of it
    assert launch("sft", tmp_path / "the first", absent=(0,), wait_seconds=1.0, **asked) == 1
    said = (tmp_path / "the first" / "output.txt").read_text()
    assert said.count("RuntimeError: node 1 of 3 has not said within 1 s where it listens") == 2, said


@pytest.fixture
def two_networks() -> Iterator[tuple[str, str]]:
    """Files of two network namespaces, which a cable joins and nothing else: 10.83.0.1 and 10.83.0.2."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are root's to make")
    machines = [subprocess.Popen(["unshare", "--net", "sleep", "600"]) for _ in range(2)]
    own = Path("/proc/self/ns/net").readlink()
    try:
        wait_for(lambda: all(Path(f"/proc/{each.pid}/ns/net").readlink() != own for each in machines), "the namespaces")
        ends = [f"halter{each.pid}" for each in machines]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, (machine, end) in enumerate(zip(machines, ends, strict=True), 1):
            ip("link", "set", end, "netns", str(machine.pid))
            for words in (f"addr add 10.83.0.{number}/24 dev {end}", f"link set {end} up", "link set lo up"):
                ip(*words.split(), inside=machine.pid)
        yield tuple(f"/proc/{each.pid}/ns/net" for each in machines)
    finally:
        for machine in machines:
            machine.kill()
            machine.wait()


def ip(*words: str, inside: int | None = None) -> None:
    there = [] if inside is None else ["nsenter", "--target", str(inside), "--net"]
    made = subprocess.run([*there, "ip", *words], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespaces are to be had here: {made.stderr.strip()}")


@pytest.mark.slow
@pytest.mark.conformance(
    "nodes look for each other on the loopback of each", equation="models.training.nodes:reached_through"
)
def test_nodes_that_only_a_cable_joins_find_each_other_by_the_addresses_that_they_tell(
    launch: Launch, tmp_path: Path, two_networks: tuple[str, str]
) -> None:
    """Two processes on each of two machines, against four of one."""
    here = done(launch, "sft", tmp_path / "here", processes=4)
    addresses = ("10.83.0.1", "10.83.0.2")
    nodes = done(launch, "sft", tmp_path / "nodes", nodes=2, processes=4, addresses=addresses, networks=two_networks)
    assert contents(nodes / "out") == contents(here / "out")
    assert json.loads((nodes / "told").read_text())["address"] == "10.83.0.1"
